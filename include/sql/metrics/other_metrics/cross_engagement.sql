-- Grain: one row. Users of two features, and users with activity in the period by whether they are
-- a member of any fast as of its end.
with users_of_both as (
    select user_id
    from user_events
    where
        code in ('devotional_viewed', 'checklist_used')
        and user_id is not null
    group by user_id
    having count(*) = 2
),

fast_users as (
    select distinct user_id from members
),

activity as (
    select
        count(fast_users.user_id) as users_with,
        count(*) - count(fast_users.user_id) as users_without,
        coalesce(sum(case when fast_users.user_id is not null then active_users.activities end), 0)
            as activities_with,
        coalesce(sum(case when fast_users.user_id is null then active_users.activities end), 0)
            as activities_without
    from active_users
    left join fast_users on active_users.user_id = fast_users.user_id
)

select
    (select count(*) from users_of_both) as users_both_devotional_and_checklist,
    users_with as users_in_fasts_with_activity,
    users_without as users_without_fasts_with_activity,
    rounded(activities_with, users_with) as avg_activities_users_with_fast,
    rounded(activities_without, users_without) as avg_activities_users_without_fast
from activity
