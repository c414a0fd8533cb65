-- Grain: one row an event that matches, newest first. Key: id.
-- Walks one index in the order of time, that of the `walk_` filter that is given (one on content
-- types alone is sorted), and keeps what matches the other filters. Of a walk that ends at its
-- budget the last row is there whether it matches or not: from there another walk goes on. Filters,
-- the budget and the limit that are null are none.
with walked as (
    select
        id,
        timestamp,
        event_type_id,
        user_id,
        content_type_id,
        object_id,
        title,
        description,
        data,
        row_number() over (order by timestamp desc, id desc) as number
    from events_event
    where
        (%(id)s::bigint is null or id = %(id)s)
        and (%(walk_user_id)s::int is null or user_id = %(walk_user_id)s)
        and (%(walk_event_type_id)s::bigint is null or event_type_id = %(walk_event_type_id)s)
        and (
            %(walk_content_type_id)s::int is null or content_type_id = %(walk_content_type_id)s
        )
        and (%(walk_object_id)s::int is null or object_id = %(walk_object_id)s)
        and (%(start)s::timestamptz is null or timestamp >= %(start)s)
        and (%(end)s::timestamptz is null or timestamp < %(end)s)
        and (
            %(after)s::timestamptz is null
            or (timestamp <= %(after)s and (timestamp, id) < (%(after)s, %(after_id)s::bigint))
        )
    order by timestamp desc, id desc
    limit %(budget)s
),

judged as (
    select
        id,
        timestamp,
        event_type_id,
        user_id,
        content_type_id,
        object_id,
        title,
        description,
        data,
        number,
        (%(user_id)s::int is null or coalesce(user_id = %(user_id)s, false))
        and (%(event_type_id)s::bigint is null or event_type_id = %(event_type_id)s)
        and (
            %(content_type_id)s::int is null
            or coalesce(content_type_id = %(content_type_id)s, false)
        )
        and (%(object_id)s::int is null or coalesce(object_id = %(object_id)s, false))
            as matches
    from walked
)

select
    id,
    timestamp,
    event_type_id,
    user_id,
    content_type_id,
    object_id,
    title,
    description,
    data,
    matches,
    coalesce(number = %(budget)s, false) as is_last_walked
from judged
where matches or number = %(budget)s
order by timestamp desc, id desc
limit %(page_size)s
