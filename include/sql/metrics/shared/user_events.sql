-- Grain: one row an event type and user with events in the period. Key: (code, user_id); user_id is
-- null for the type's anonymous events.
with counts as (
    select
        event_type_id,
        user_id,
        count(*) as events
    from events
    group by event_type_id, user_id
)

select
    event_types.code,
    counts.user_id,
    counts.events
from counts
inner join event_types on counts.event_type_id = event_types.id
