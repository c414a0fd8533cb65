-- Grain: one row a user, the ten who viewed most devotionals in the period. Key: user_id.
select
    user_events.user_id,
    users.username,
    user_events.events as views
from user_events
inner join users on user_events.user_id = users.id
where user_events.code = 'devotional_viewed'
order by views desc, user_events.user_id asc
limit 10
