-- Grain: one row, what the previous period counts.
select
    active_users,
    screen_views,
    first_screen_view,
    first_activity
from previous_period
