-- Grain: one row an event that is due, of the fasts that were asked for (all, where none was). No
-- key: what tells two of them apart depends on the kind.
select
    fast_id,
    at,
    found,
    found > 0 as is_there,
    label,
    user_id,
    title,
    description,
    data
from told
where
    cardinality(%(fast_ids)s::bigint[]) = 0
    or fast_id = any(%(fast_ids)s::bigint[])
