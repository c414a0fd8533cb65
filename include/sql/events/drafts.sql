-- Grain: one row an event that is due and not there; none at all where that is more than the fuse
-- allows. No key: what tells two of them apart depends on the kind.
select
    fast_id,
    at,
    user_id,
    title,
    description,
    data
from wanted
where
    not is_there
    and (select count(*) from wanted as every where not every.is_there) <= %(max_events)s
