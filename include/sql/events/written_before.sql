-- Grain: one row an event of the kind whose target is a fast, of all time. Key: id.
-- Reads through the indexes on (event_type_id, timestamp) or (content_type_id, object_id,
-- timestamp): whoever joins it names the fasts.
select
    id,
    object_id as fast_id,
    timestamp,
    data ->> 'devotional_id' as devotional_id,
    data ->> 'milestone' as milestone
from events_event
where event_type_id = %(event_type_id)s and content_type_id = %(fast_content_type_id)s
