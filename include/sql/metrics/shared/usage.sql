-- Grain: one row an event type that occurs in the period. Key: code.
-- Its events, the users who caused any, and the mean of events per such user. Anonymous events
-- count in the total alone.
select
    code,
    sum(events) as total,
    count(user_id) as unique_users,
    rounded(coalesce(sum(case when user_id is not null then events end), 0), count(user_id))
        as avg_per_user
from user_events
group by code
