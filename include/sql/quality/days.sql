-- Grain: one row a day of the period, from the first to the last one with events. Key: date.
with counted as (
    select
        days.date,
        count(*) as events
    from events
    asof inner join days on events.timestamp >= days.start_instant
    where events.timestamp < $end_instant
    group by days.date
)

select
    days.date,
    coalesce(counted.events, 0) as events
from days
left join counted on days.date = counted.date
where
    days.date >= (select min(counted.date) from counted)
    and days.date <= (select max(counted.date) from counted)
