-- Grain: one row. The first registration before the period's end in microseconds since 1970, UTC;
-- the period's start where there is none. A number, for it may lie in a year that Python has not.
select epoch_us(coalesce(min(date_joined), $start_instant)) as instant_us
from users
where date_joined < $end_instant
