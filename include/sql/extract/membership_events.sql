-- Grain: one row a join or leave event of a fast, of all time. Key: id.
-- Spells reach back to the first join, and the as-of rule looks at what came after the period.
-- Reads through the index on (event_type_id, timestamp): the type ids are literals.
select
    id,
    event_type_id,
    user_id,
    object_id as fast_id,
    timestamp
from events_event
where
    event_type_id = any(%(membership_type_ids)s)
    and content_type_id = any(%(fast_content_type_ids)s)
    and object_id is not null
