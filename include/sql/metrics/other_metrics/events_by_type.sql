-- Grain: one row an event type that occurs in the period. Key: code.
select
    event_types.code,
    count(*) as events
from events
inner join event_types on events.event_type_id = event_types.id
group by event_types.code
order by event_types.code
