-- Grain: one row a fast with something due: how many events are there already, how many of those
-- more than once, and how many are not there. Key: fast_id.
select
    fast_id,
    min(label) as label,
    count(*) filter (where is_there) as already_there,
    count(*) filter (where found > 1) as doubled,
    count(*) filter (where not is_there) as missing
from wanted
group by fast_id
order by fast_id
