-- Grain: one row an event of a milestone of the fast, the newest first. Key: none.
-- Reads through the index on (content_type_id, object_id, timestamp), or on (event_type_id,
-- timestamp) where these milestones are fewer than the fast's events.
select
    threshold,
    timestamp as reached_at
from with_threshold
where
    content_type_id = %(content_type_id)s
    and object_id = %(fast_id)s
    and event_type_id = %(event_type_id)s
order by timestamp desc, id desc
limit %(page_size)s
