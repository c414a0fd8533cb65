-- Grain: one row a milestone that a user has reached in the lookback. Key: (user_id,
-- milestone_type). `at` is when it was reached; `found` counts its row in events_usermilestone.
-- A first join counts whether the fast still exists or not: its event tells the names then.
-- Reads the joins of the lookback through the index on (event_type_id, timestamp), and for each of
-- their users without the milestone an earlier join through (user_id, timestamp); milestones that
-- are there through (user_id, milestone_type) and (achieved_at). `materialized` and `limit` keep it
-- so where the statistics lag behind what a run before has written.
with joins as materialized (
    select
        id,
        user_id,
        content_type_id,
        object_id as fast_id,
        timestamp as at,
        data
    from events_event
    where
        event_type_id = %(join_type_id)s
        and timestamp > %(after)s
        and timestamp <= %(now)s
),

first_joins as (
    select distinct on (joins.user_id)
        joins.user_id,
        joins.fast_id,
        joins.at,
        joins.data
    from joins
    left join
        lateral (
            select given.id
            from events_usermilestone as given
            where given.user_id = joins.user_id and given.milestone_type = 'first_fast_join'
            order by given.id
            limit 1
        ) as milestone
        on true
    where
        joins.user_id is not null
        and joins.content_type_id = %(fast_content_type_id)s
        and joins.fast_id is not null
        and milestone.id is null
    order by joins.user_id, joins.at, joins.id
),

reached as (
    select
        first_joins.user_id,
        'first_fast_join' as milestone_type,
        first_joins.fast_id,
        first_joins.at,
        0 as found,
        first_joins.data
    from first_joins
    left join
        lateral (
            select event.id
            from events_event as event
            where
                event.user_id = first_joins.user_id
                and event.event_type_id = %(join_type_id)s
                and event.content_type_id = %(fast_content_type_id)s
                and event.object_id is not null
                and event.timestamp <= %(after)s
            order by event.timestamp
            limit 1
        ) as earlier
        on true
    where earlier.id is null
    union all
    (
        select distinct on (members.user_id)
            members.user_id,
            'first_nonweekly_fast_complete' as milestone_type,
            members.fast_id,
            members.at,
            0 as found,
            '{}'::jsonb as data
        from members
        left join
            lateral (
                select given.id
                from events_usermilestone as given
                where
                    given.user_id = members.user_id
                    and given.milestone_type = 'first_nonweekly_fast_complete'
                order by given.id
                limit 1
            ) as milestone
            on true
        where milestone.id is null
        order by members.user_id, members.at, members.fast_id
    )
    union all
    select
        user_id,
        milestone_type,
        object_id as fast_id,
        achieved_at as at,
        1 as found,
        data
    from events_usermilestone
    where
        milestone_type in ('first_fast_join', 'first_nonweekly_fast_complete')
        and content_type_id = %(fast_content_type_id)s
        and achieved_at > %(after)s
        and achieved_at <= %(now)s
),

named as (
    select
        reached.user_id,
        reached.milestone_type,
        reached.fast_id,
        reached.at,
        reached.found,
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
    fast_id,
    at,
    found,
    label,
    user_id,
    case milestone_type
        when 'first_fast_join' then 'First fast joined: ' || label
        else 'First fast completed: ' || label
    end as title,
    case milestone_type
        when 'first_fast_join' then 'You have joined your first fast, ' || label || '.'
        else 'You have completed your first fast, ' || label || '.'
    end as description,
    data
from named
