-- Grain: one row a fast that exists. Key: fast_id.
-- The fast's label: its name and year, or its name where the year is null or 0.
select
    fasts.id as fast_id,
    case
        when coalesce(fasts.year, 0) = 0 then fasts.name
        else concat(fasts.name, ' (', cast(fasts.year as varchar(11)), ')')
    end as fast_name,
    churches.name as church_name
from fasts
inner join churches on fasts.church_id = churches.id
