-- Grain: as `found`, each row with what was written in all.
select
    found.fast_id,
    found.label,
    found.already_there,
    found.doubled,
    found.missing,
    (select count(*) from written) as written,
    (select count(*) from fed) as fan_out
from found
order by found.fast_id
