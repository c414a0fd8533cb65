-- Grain: one row an event that matches, newest first. Key: id.
-- Walks one index in the order of time, that of the `walk_` filter that is given (one on content
-- types alone is sorted), and keeps what matches the other filters. Of a walk that ends at its
-- budget the last row is there whether it matches or not: from there another walk goes on. Filters
-- that are null are none.
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
    number = %(budget)s as is_last_walked
from (
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
        (
            (%(user_id)s::int is null or user_id = %(user_id)s)
            and (%(event_type_id)s::bigint is null or event_type_id = %(event_type_id)s)
            and (%(content_type_id)s::int is null or content_type_id = %(content_type_id)s)
            and (%(object_id)s::int is null or object_id = %(object_id)s)
        ) is true as matches,
        row_number() over (order by timestamp desc, id desc) as number
    from in_time
    where
        (%(id)s::bigint is null or id = %(id)s)
        and (%(walk_user_id)s::int is null or user_id = %(walk_user_id)s)
        and (%(walk_event_type_id)s::bigint is null or event_type_id = %(walk_event_type_id)s)
        and (
            %(walk_content_type_id)s::int is null or content_type_id = %(walk_content_type_id)s
        )
        and (%(walk_object_id)s::int is null or object_id = %(walk_object_id)s)
        and (
            %(after)s::timestamptz is null
            or (timestamp, id) < (%(after)s, %(after_id)s::bigint)
        )
    order by timestamp desc, id desc
    limit %(budget)s
) as walked
where matches or number = %(budget)s
order by timestamp desc, id desc
limit %(page_size)s
