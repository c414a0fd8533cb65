-- Grain: one row a church that a fast belongs to. Key: id.
-- The name is only told as there (1) or missing (null).
select
    id,
    case when name is not null then 1 end as name
from churches
where id is null or id in (select fasts.church_id from fasts)
