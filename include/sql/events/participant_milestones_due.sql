-- Grain: one row a fast that has a day after the lookback's begin, and threshold. Key: both.
-- Whether it is reached is told where the participants are counted.
-- `found` counts the fast's events with that milestone.
-- Reads through the index on (date) of hub_day.
with current_fasts as (
    select distinct fast_id
    from hub_day
    where date >= %(first_date)s and fast_id is not null
)

select
    current_fasts.fast_id,
    %(now)s::timestamptz as at,
    threshold.milestone,
    count(written_before.id) as found
from current_fasts
cross join (values (10), (25), (50), (100), (250), (500), (1000)) as threshold (milestone)
left join written_before
    on
        current_fasts.fast_id = written_before.fast_id
        and threshold.milestone::text = written_before.milestone
group by current_fasts.fast_id, threshold.milestone
