-- Grain: one row, the users who registered in the previous period, and the first registration there
-- is, in microseconds since 1970, UTC: null without users.
select
    count(case
        when date_joined >= $previous_start_instant and date_joined < $start_instant then 1
    end) as registrations,
    min(epoch_us(date_joined)) as first_registration_us
from users
