-- Grain: one row. Events `screen_view` of the period; anonymous ones count in the
-- total alone.
select
    coalesce(sum(events), 0) as total,
    count(user_id) as unique_users,
    rounded(coalesce(sum(case when user_id is not null then events end), 0), count(user_id))
        as avg_per_user
from user_events
where code = 'screen_view'
