-- Grain: one row an event. Key: id.
-- Threshold: the number of participants that its data tells, null where it tells none.
-- Reads through an index of whatever it is filtered and ordered by.
select
    id,
    event_type_id,
    content_type_id,
    object_id,
    timestamp,
    data,
    case when data ->> 'milestone' ~ '^\d{1,9}$' then (data ->> 'milestone')::int end as threshold
from events_event
