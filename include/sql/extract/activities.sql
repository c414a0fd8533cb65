-- Grain: one row an activity of the period. Key: id.
-- Reads through the index on created_at.
select
    id,
    user_id,
    activity_type,
    created_at,
    title,
    description,
    content_type_id,
    object_id
from events_useractivityfeed
where created_at >= %(start)s and created_at < %(end)s
