-- Grain: one church that a fast belongs to. Key: id.
-- Text is only told as there (1) or missing (null).
select
    id,
    case when name is not null then 1 end as name
from churches
where id is null or exists (select 1 from fasts where fasts.church_id = churches.id)
