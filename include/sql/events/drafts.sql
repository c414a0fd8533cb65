-- Grain: one row an event that is due and not there; none at all where that is more than the fuse
-- allows.
select
    fast_id,
    at,
    user_id,
    title,
    description,
    data
from wanted
where
    found = 0
    and (select count(*) from wanted as every where every.found = 0) <= %(max_events)s
