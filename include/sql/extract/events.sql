-- Grain: one row an event of the period, of any type. Key: id.
-- Reads through the index on timestamp. Only the two types that a dataset looks into give up parts
-- of their data.
select
    id,
    event_type_id,
    user_id,
    timestamp,
    case when event_type_id = any(%(screen_view_type_ids)s) then data ->> 'screen' end as screen,
    case when event_type_id = any(%(video_type_ids)s) then data ->> 'video_id' end as video_id,
    case when event_type_id = any(%(video_type_ids)s) then data ->> 'title' end as video_title
from events_event
where timestamp >= %(start)s and timestamp < %(end)s
