-- Writes one activity for each recipient of an event just written, unread and dated as the event.
insert into events_useractivityfeed (
    activity_type, object_id, title, description, is_read, read_at, created_at, data,
    content_type_id, event_id, user_id, i18n
)
select
    %(activity_type)s,
    object_id,
    title,
    description,
    false as is_read,
    null as read_at,
    timestamp,
    data,
    %(fast_content_type_id)s as content_type_id,
    event_id,
    user_id,
    null as i18n
from recipients
returning 1 as one
