-- Grain: one row a day of the period, from the first to the last one with events. Key: date.
with counted as (
    select
        days.date,
        count(*) as events
    from events
    asof inner join days on events.timestamp >= days.start_instant
    where events.timestamp < $end_instant
    group by days.date
),

bounds as (
    select
        min(date) as first_date,
        max(date) as last_date
    from counted
)

select
    days.date,
    coalesce(counted.events, 0) as events
from days
inner join bounds on days.date >= bounds.first_date and days.date <= bounds.last_date
left join counted on days.date = counted.date
