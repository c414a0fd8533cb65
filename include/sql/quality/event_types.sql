-- Grain: one row an event type that the report sees. Key: id; code.
-- An event of the period is of that type, or a join or leave event before the period's end.
select
    id,
    code,
    category
from event_types
where
    id is null
    or id in (select events.event_type_id from events)
    or id in (
        select membership_events.event_type_id
        from membership_events
        where membership_events.timestamp < $end_instant
    )
