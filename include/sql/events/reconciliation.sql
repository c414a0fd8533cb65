-- Grain: one row a fast that exists and has any such pair. Key: fast_id.
select
    fasts.fast_id,
    fasts.label,
    by_fast.never_recorded,
    by_fast.gone,
    by_fast.doubled
from by_fast
inner join fasts on by_fast.fast_id = fasts.fast_id
where by_fast.never_recorded + by_fast.gone + by_fast.doubled > 0
order by fasts.fast_id
