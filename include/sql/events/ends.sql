-- Grain: one row a fast whose ending is due in the lookback. Key: fast_id.
-- It is over when the day after its last day begins.
-- Reads through the indexes on (date) and (fast_id, date) of hub_day.
select distinct
    day.fast_id,
    days.start as at,
    days.previous_start as last_day_start
from days
inner join hub_day as day on day.date = days.date - 1
where
    day.fast_id is not null
    and not exists (
        select from hub_day as later where later.fast_id = day.fast_id and later.date > day.date
    )
