-- Grain: one row a day of the period. Key: date.
-- Users by the day of their registration, days without one included.
select
    days.date,
    count(users.id) as count
from days
left join users
    on
        days.start_instant <= users.date_joined
        and days.end_instant > users.date_joined
group by days.date
order by days.date
