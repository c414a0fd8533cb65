-- Grain: one row an event just written and the user that it is about. Key: event_id.
select
    id as event_id,
    object_id,
    title,
    description,
    timestamp,
    data,
    user_id
from written
