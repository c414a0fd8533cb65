-- Grain: one row a user with activity in the period. Key: user_id.
select
    user_id,
    count(*) as activities
from activities
group by user_id
