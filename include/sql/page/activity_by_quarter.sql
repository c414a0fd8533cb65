-- Grain: one row a quarter of an hour with activities. Key: quarter, since 1970, UTC.
-- Hours of every zone begin with one: its clock is off UTC by quarters of an hour, since 1972.
select
    epoch_us(created_at) // 900000000 as quarter,
    count(*) as activities
from activities
group by quarter
order by quarter
