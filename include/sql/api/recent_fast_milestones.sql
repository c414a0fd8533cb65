-- Grain: one row an event of a fast's milestone, the newest first. Key: none.
-- Reads through the index on (event_type_id, timestamp); fasts by their key.
select
    newest.object_id as fast_id,
    (
        select fast.label from fasts as fast
        where fast.fast_id = newest.object_id
    ) as fast,
    newest.threshold,
    newest.timestamp as reached_at
from (
    select
        id,
        timestamp,
        object_id,
        threshold
    from with_threshold
    where event_type_id = %(event_type_id)s and content_type_id = %(content_type_id)s
    order by timestamp desc, id desc
    limit %(page_size)s
) as newest
order by newest.timestamp desc, newest.id desc
