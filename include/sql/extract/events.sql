-- Grain: one row an event of the period, of any type. Key: id.
-- Reads through the index on timestamp. Only screen views give up a part of their data.
select
    id,
    event_type_id,
    user_id,
    timestamp,
    case when event_type_id = any(%(screen_view_type_ids)s) then data ->> 'screen' end as screen
from events_event
where timestamp >= %(start)s and timestamp < %(end)s
