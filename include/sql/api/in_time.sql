-- Grain: one row an event in the time asked for, at the instant `after` or before it. Key: id.
-- Instants that are null are no bounds.
-- Reads through an index of whatever it is filtered and ordered by.
select
    id,
    timestamp,
    event_type_id,
    user_id,
    content_type_id,
    object_id,
    title,
    description,
    data
from events_event
where
    (%(start)s::timestamptz is null or timestamp >= %(start)s)
    and (%(end)s::timestamptz is null or timestamp < %(end)s)
    and (%(after)s::timestamptz is null or timestamp <= %(after)s)
