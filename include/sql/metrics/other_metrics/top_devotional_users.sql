-- Grain: one row a user, the ten who viewed most devotionals in the period. Key: user_id.
select
    events.user_id,
    users.username,
    count(*) as views
from events
inner join event_types on events.event_type_id = event_types.id
inner join users on events.user_id = users.id
where event_types.code = 'devotional_viewed'
group by events.user_id, users.username
order by views desc, events.user_id asc
limit 10
