-- Grain: one row a moment at which the fast has members. Key: (fast_id, at).
select
    fast_id,
    at,
    count(*) as participants
from members
group by fast_id, at
