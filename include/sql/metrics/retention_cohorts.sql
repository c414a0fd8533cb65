-- Grain: one row a week of registration (ISO 8601, from Monday). Key: cohort_week.
-- Users who registered before the period's end, by the week of their registration in the session's
-- time zone, which is the report's; retained are those with activity in the period.
with cohorts as (
    select
        cast(date_trunc('week', users.date_joined) as date) as cohort_start_date,
        count(*) as total_users,
        count(active_users.user_id) as active_users,
        coalesce(sum(active_users.activities), 0) as activities
    from users
    left join active_users on users.id = active_users.user_id
    where users.date_joined < $end_instant
    group by cast(date_trunc('week', users.date_joined) as date)
)

select
    concat(
        cast(year(cohort_start_date + interval '3' day) as varchar(4)),
        '-W',
        lpad(cast(weekofyear(cohort_start_date) as varchar(2)), 2, '0')
    ) as cohort_week,
    cohort_start_date,
    total_users,
    active_users,
    rounded(100 * active_users, total_users) as retention_rate,
    rounded(activities, active_users) as avg_activities_per_user,
    date_diff('day', cohort_start_date, $end) // 7 as cohort_age_weeks
from cohorts
order by cohort_start_date desc
