-- Grain: one row, what the extract counted of the previous period. The instants are in microseconds
-- since 1970, UTC: null where there is none.
select
    active_users,
    screen_views,
    epoch_us(first_screen_view) as first_screen_view_us,
    epoch_us(first_activity) as first_activity_us
from previous_period
