-- Grain: one row a fast and instant at which its members matter. Key: (fast_id, at).
select distinct
    fast_id,
    at
from due
where found = 0
