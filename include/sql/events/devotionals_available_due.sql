-- Grain: one row a day of a fast that began in the lookback and order of its devotionals.
-- Key: devotional_id, the one in English or else the first.
-- `found` counts the fast's events that name any devotional of that day and order.
-- Reads through the indexes on (date) of hub_day and (day_id) of hub_devotional.
with standing as (
    select
        day.fast_id,
        days.date,
        days.start as at,
        devotional.id,
        devotional.day_id,
        devotional."order",
        first_value(devotional.id) over (
            partition by devotional.day_id, devotional."order"
            order by devotional.language_code <> 'en', devotional.id
        ) as devotional_id
    from days
    inner join hub_day as day on days.date = day.date
    inner join hub_devotional as devotional on day.id = devotional.day_id
    where day.fast_id is not null
)

select
    standing.fast_id,
    standing.at,
    standing.devotional_id,
    standing.day_id,
    standing."order",
    standing.date,
    count(written_before.id) as found
from standing
left join written_before
    on
        standing.fast_id = written_before.fast_id
        and standing.id::text = written_before.devotional_id
group by
    standing.fast_id, standing.at, standing.devotional_id, standing.day_id, standing."order",
    standing.date
