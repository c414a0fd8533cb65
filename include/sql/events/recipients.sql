-- Grain: one row an event just written and member of its fast as of its time. Key: both.
select
    written.id as event_id,
    written.object_id,
    written.title,
    written.description,
    written.timestamp,
    written.data,
    members.user_id
from written
inner join members on written.object_id = members.fast_id and written.timestamp = members.at
where %(fan_out)s
