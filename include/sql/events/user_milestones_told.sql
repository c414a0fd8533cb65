-- Grain: one row a milestone that a user has reached in the lookback. Key: (user_id,
-- milestone_type). `at` is when it was reached; `found` counts its row in events_usermilestone.
-- A first join counts whether the fast still exists or not: its event tells the names then.
-- Reads joins through the index on (event_type_id, timestamp) and the user's first one through
-- (user_id, timestamp): `limit` keeps that to one user at a time, whatever the table holds.
with joined as (
    select distinct user_id
    from events_event
    where
        event_type_id = %(join_type_id)s
        and content_type_id = %(fast_content_type_id)s
        and object_id is not null
        and user_id is not null
        and timestamp > %(after)s
        and timestamp <= %(now)s
),

reached as (
    select
        joined.user_id,
        'first_fast_join' as milestone_type,
        first_join.fast_id,
        first_join.at,
        first_join.data
    from joined
    cross join
        lateral (
            select
                event.object_id as fast_id,
                event.timestamp as at,
                event.data
            from events_event as event
            where
                event.user_id = joined.user_id
                and event.event_type_id = %(join_type_id)s
                and event.content_type_id = %(fast_content_type_id)s
                and event.object_id is not null
            order by event.timestamp, event.id
            limit 1
        ) as first_join
    where first_join.at > %(after)s
    union all
    (
        select distinct on (members.user_id)
            members.user_id,
            'first_nonweekly_fast_complete' as milestone_type,
            members.fast_id,
            members.at,
            '{}'::jsonb as data
        from members
        order by members.user_id, members.at, members.fast_id
    )
),

named as (
    select
        reached.user_id,
        reached.milestone_type,
        reached.fast_id,
        reached.at,
        coalesce(fasts.label, reached.data ->> 'fast_name', 'fast ' || reached.fast_id) as label,
        jsonb_build_object(
            'fast_id', reached.fast_id,
            'fast_name', coalesce(to_jsonb(fasts.fast_name), reached.data -> 'fast_name'),
            'church_id', coalesce(to_jsonb(fasts.church_id), reached.data -> 'church_id'),
            'church_name', coalesce(to_jsonb(fasts.church_name), reached.data -> 'church_name'),
            'milestone_type', reached.milestone_type
        ) as data
    from reached
    left join fasts on reached.fast_id = fasts.fast_id
)

select
    named.fast_id,
    named.at,
    case when milestone.id is null then 0 else 1 end as found,
    named.label,
    named.user_id,
    case named.milestone_type
        when 'first_fast_join' then 'First fast joined: ' || named.label
        else 'First fast completed: ' || named.label
    end as title,
    case named.milestone_type
        when 'first_fast_join' then 'You have joined your first fast, ' || named.label || '.'
        else 'You have completed your first fast, ' || named.label || '.'
    end as description,
    named.data
from named
left join events_usermilestone as milestone
    on
        named.user_id = milestone.user_id
        and named.milestone_type = milestone.milestone_type
