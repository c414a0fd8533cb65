-- Grain: one row a viewing of a tutorial video in the period. Key: id.
-- `in_events` is false for one that is none of the extracted events.
select
    id,
    video_id,
    title,
    coalesce(id in (select events.id from events where events.id is not null), true) as in_events
from video_views
