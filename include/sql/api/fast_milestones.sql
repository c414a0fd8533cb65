-- Grain: one row an event of a milestone of the fast, the newest first. Key: none.
-- The threshold is null where the event's data tells none.
-- Reads through the index on (content_type_id, object_id, timestamp), or on (event_type_id,
-- timestamp) where these milestones are fewer than the fast's events.
with newest as (
    select
        id,
        timestamp,
        data ->> 'milestone' as milestone
    from events_event
    where
        content_type_id = %(content_type_id)s
        and object_id = %(fast_id)s
        and event_type_id = %(event_type_id)s
    order by timestamp desc, id desc
    limit %(page_size)s
)

select
    case when milestone ~ '^\d{1,9}$' then milestone::int end as threshold,
    timestamp as reached_at
from newest
order by timestamp desc, id desc
