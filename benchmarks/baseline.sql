-- The least that the report of a period has to read, as plain queries: the floor that its speed is
-- measured against. They stay as they are, however little the report's own queries read.

select e.id, t.code, e.user_id, c.model, e.object_id, e.timestamp,
    e.data ->> 'screen', e.data ->> 'video_id', e.data ->> 'title'
from events_event e
    join events_eventtype t on t.id = e.event_type_id
    left join django_content_type c on c.id = e.content_type_id
where e.timestamp >= :start
    and e.timestamp < :end_exclusive;

select f.id, f.user_id, f.activity_type, f.created_at, f.title, f.description, c.model, f.object_id
from events_useractivityfeed f
    left join django_content_type c on c.id = f.content_type_id
where f.created_at >= :start
    and f.created_at < :end_exclusive;

select id, username, email, date_joined
from auth_user;

select p.user_id, m.fast_id
from hub_profile_fasts m
    join hub_profile p on p.id = m.profile_id;

select e.id, e.user_id, e.object_id, t.code, e.timestamp
from events_event e
    join events_eventtype t on t.id = e.event_type_id
    join django_content_type c on c.id = e.content_type_id
where t.code in ('user_joined_fast', 'user_left_fast')
    and c.app_label = 'hub'
    and c.model = 'fast';
