-- Grain: one row, the time of the newest event about the fast before an instant; null without one.
-- Reads one entry of the index on (content_type_id, object_id, timestamp).
select max(timestamp) as at
from events_event
where
    content_type_id = %(content_type_id)s
    and object_id = %(fast_id)s
    and timestamp < %(end)s
