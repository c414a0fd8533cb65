-- Grain: one row a fast whose first day began in the lookback. Key: fast_id.
-- `found` counts the beginnings that the fast has.
-- Reads through the indexes on (date) and (fast_id, date) of hub_day.
with begun as (
    select distinct
        day.fast_id,
        days.start as at
    from days
    inner join hub_day as day on days.date = day.date
    where
        day.fast_id is not null
        and not exists (
            select from hub_day as earlier
            where day.fast_id = earlier.fast_id and day.date > earlier.date
        )
)

select
    begun.fast_id,
    begun.at,
    count(written_before.id) as found
from begun
left join written_before on begun.fast_id = written_before.fast_id
group by begun.fast_id, begun.at
