-- Grain: as `found`, of a run that writes nothing.
select
    fast_id,
    label,
    already_there,
    doubled,
    missing,
    0 as written,
    0 as fan_out
from found
order by fast_id
