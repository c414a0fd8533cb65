-- Grain: one row, how many events each walk of `api/events` would pass: no more than the budget are
-- counted. Null where its filter is not given; on content types alone the time makes no difference.
-- Reads through the index of each walk, and of none but that.
select
    case
        when %(content_type_id)s::int is not null and %(object_id)s::int is not null
            then (
                select count(*)
                from (
                    select from in_time
                    where content_type_id = %(content_type_id)s and object_id = %(object_id)s
                    order by timestamp desc
                    limit %(budget)s
                ) as passed
            )
    end as target,
    case
        when %(user_id)s::int is not null
            then (
                select count(*)
                from (
                    select from in_time
                    where user_id = %(user_id)s
                    order by timestamp desc
                    limit %(budget)s
                ) as passed
            )
    end as app_user,
    case
        when %(event_type_id)s::bigint is not null
            then (
                select count(*)
                from (
                    select from in_time
                    where event_type_id = %(event_type_id)s
                    order by timestamp desc
                    limit %(budget)s
                ) as passed
            )
    end as event_type,
    (
        select count(*)
        from (
            select from in_time
            order by timestamp desc
            limit %(budget)s
        ) as passed
    ) as everything,
    case
        when %(content_type_id)s::int is not null and %(object_id)s::int is null
            then (
                select count(*)
                from (
                    select from events_event
                    where content_type_id = %(content_type_id)s
                    order by content_type_id
                    limit %(budget)s
                ) as passed
            )
    end as content_type
