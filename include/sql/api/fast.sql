-- Grain: one row, the fast where there is one. Key: fast_id.
-- Participants are the members as they are now; `last_at` is the time of the newest event of which
-- the fast is the target.
-- Reads through the primary keys, and the indexes on (fast_id) of hub_profile_fasts and
-- (content_type_id, object_id, timestamp) of events_event.
select
    fast_id,
    label as fast,
    (
        select count(*) from hub_profile_fasts as membership
        where membership.fast_id = fasts.fast_id
    ) as participants,
    (
        select max(event.timestamp) from events_event as event
        where event.content_type_id = %(content_type_id)s and event.object_id = fasts.fast_id
    ) as last_at
from fasts
where fast_id = %(fast_id)s
