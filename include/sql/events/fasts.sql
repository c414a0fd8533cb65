-- Grain: one row a fast that exists. Key: fast_id.
-- The label is the name and the year, or the name where the year is null or 0.
-- Reads through the primary key wherever few fasts are asked for.
select
    fast.id as fast_id,
    fast.name as fast_name,
    fast.name || coalesce(' (' || nullif(fast.year, 0) || ')', '') as label,
    fast.year,
    fast.church_id,
    church.name as church_name,
    fast.name ~* '^(wednesday|friday)' as is_weekly
from hub_fast as fast
inner join hub_church as church on fast.church_id = church.id
