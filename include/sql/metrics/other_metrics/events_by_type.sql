-- Grain: one row an event type that occurs in the period. Key: code.
select
    code,
    sum(events) as events
from user_events
group by code
order by code
