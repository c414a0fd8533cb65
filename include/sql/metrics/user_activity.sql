-- Grain: one row a user with activity in the period. Key: user_id.
-- Activities of the period by type; histogram() gives the types in order of their code points.
with counts as (
    select
        user_id,
        count(*) as total_items,
        cast(histogram(activity_type) as map (varchar, bigint)) as by_type
    from activities
    group by user_id
)

select
    counts.user_id,
    users.username,
    users.email,
    users.date_joined,
    counts.total_items,
    counts.by_type
from counts
inner join users on counts.user_id = users.id
order by counts.total_items desc, counts.user_id asc
