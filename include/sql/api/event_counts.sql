-- Grain: one row a stretch of time and an event type. Key: (number, event_type_id).
-- A stretch goes from its start until before its end; null is without bound.
-- Reads the index on (event_type_id, timestamp) alone, a stretch of it for each row: to group one
-- scan of all of it takes three times as long.
with stretches as (
    select
        generate_subscripts(%(starts)s::timestamptz[], 1) as number,
        unnest(%(starts)s::timestamptz[]) as starts_at,
        unnest(%(ends)s::timestamptz[]) as ends_at
)

select
    stretch.number,
    event_type.id as event_type_id,
    (
        select count(*) from events_event as event
        where
            event.event_type_id = event_type.id
            and event.timestamp >= coalesce(stretch.starts_at, '-infinity')
            and event.timestamp < coalesce(stretch.ends_at, 'infinity')
    ) as events
from stretches as stretch
cross join events_eventtype as event_type
