-- Grain: one event type that an event of the period, or a join or leave event before its end, has. Key: id.
select
    id,
    code,
    category
from event_types
where
    id is null
    or exists (select 1 from events where events.event_type_id = event_types.id)
    or exists (
        select 1
        from membership_events
        where membership_events.event_type_id = event_types.id and membership_events.timestamp < $end_instant
    )
