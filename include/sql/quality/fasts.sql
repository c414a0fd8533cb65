-- Grain: one row a fast that exists. Key: id.
-- The name is only told as there (1) or missing (null); a year of 0 is one not given. A reference
-- that is missing counts as found: whether it may be missing is another expectation.
select
    id,
    case when name is not null then 1 end as name,
    nullif(year, 0) as year,
    church_id,
    coalesce(
        church_id in (select churches.id from churches where churches.id is not null), true
    ) as church_exists
from fasts
