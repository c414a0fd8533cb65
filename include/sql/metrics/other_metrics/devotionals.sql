-- Grain: one row. Events `devotional_viewed` of the period; anonymous ones count in the total
-- alone.
select
    count(*) as total_views,
    count(distinct events.user_id) as unique_users,
    rounded(count(events.user_id), count(distinct events.user_id)) as avg_per_user
from events
inner join event_types on events.event_type_id = event_types.id
where event_types.code = 'devotional_viewed'
