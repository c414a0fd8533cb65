-- Grain: one row a day of the period. Key: date.
-- Users by the day of their registration, days without one included.
select
    days.date,
    count(users.id) as count
from days
left join users
    on
        users.date_joined >= days.start_instant
        and users.date_joined < days.end_instant
group by days.date
order by days.date
