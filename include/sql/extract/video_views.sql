-- Grain: one row a viewing of a tutorial video in the period, what its event tells of the video.
-- Key: id, the event's.
-- Reads through the index on (event_type_id, timestamp). A table of its own: as columns of all
-- events, two texts that are nearly always missing would cost a quarter of reading them.
select
    id,
    data ->> 'video_id' as video_id,
    data ->> 'title' as title
from events_event
where
    event_type_id = any(%(video_type_ids)s)
    and timestamp >= %(start)s
    and timestamp < %(end)s
