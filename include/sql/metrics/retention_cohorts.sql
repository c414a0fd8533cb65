-- Grain: one row a week of registration (ISO 8601, from Monday). Key: cohort_week.
-- Users who registered before the period's end, by the week of their registration in the report
-- time zone; retained are those with activity in the period. Whoever registered before the first of
-- all weeks, 0001-W02, counts in it: such a date is a mistake, which the checks of the data tell.
with first_week as (
    select min(start_instant) as start_instant from weeks
),

registrations as (
    select
        users.id,
        greatest(users.date_joined, first_week.start_instant) as instant
    from users
    cross join first_week
    where users.date_joined < $end_instant
),

cohorts as (
    select
        weeks.start_date,
        count(*) as total_users,
        count(active_users.user_id) as active_users,
        coalesce(sum(active_users.activities), 0) as activities
    from registrations
    inner join weeks
        on
            registrations.instant >= weeks.start_instant
            and registrations.instant < weeks.end_instant
    left join active_users on registrations.id = active_users.user_id
    group by weeks.start_date
)

select
    concat(
        lpad(cast(year(start_date + interval '3' day) as varchar(4)), 4, '0'),
        '-W',
        lpad(cast(weekofyear(start_date) as varchar(2)), 2, '0')
    ) as cohort_week,
    start_date as cohort_start_date,
    total_users,
    active_users,
    rounded(100 * active_users, total_users) as retention_rate,
    rounded(activities, active_users) as avg_activities_per_user,
    cast(floor(date_diff('day', start_date, $end) / 7) as bigint) as cohort_age_weeks
from cohorts
order by start_date desc
