-- Grain: one fast. Key: id.
-- Text is only told as there (1) or missing (null); a year of 0 is one not given.
select
    id,
    case when name is not null then 1 end as name,
    nullif(year, 0) as year,
    church_id,
    church_id is null
    or exists (select 1 from churches where churches.id = fasts.church_id) as church_exists
from fasts
