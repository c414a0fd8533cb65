-- Grain: one row, the fast where there is one. Key: fast_id.
-- Participants are the members as they are now.
-- Reads through the primary keys, and the index on (fast_id) of hub_profile_fasts.
select
    fast_id,
    label as fast,
    (
        select count(*) from hub_profile_fasts as membership
        where membership.fast_id = fasts.fast_id
    ) as participants
from fasts
where fast_id = %(fast_id)s
