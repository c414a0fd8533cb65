-- Grain: one join or leave event before the end of the period. Key: id.
-- a join `holds` where the pair is a member as of the end, or left after it, or where
-- the fast is gone, and its memberships with it.
with before_end as (
    select
        id,
        event_type_id,
        user_id,
        fast_id,
        timestamp,
        event_type_id in (select event_types.id from event_types where code = 'user_joined_fast') as joins,
        event_type_id in (select event_types.id from event_types where code = 'user_left_fast') as leaves,
        row_number() over (partition by user_id, fast_id order by timestamp, id) as place
    from membership_events
    where timestamp is null or timestamp < $end_instant
),

placed as (
    select
        *,
        max(case when leaves then place end) over (partition by user_id, fast_id) as last_leave
    from before_end
)

select
    id,
    event_type_id,
    user_id,
    fast_id,
    timestamp,
    exists (
        select 1 from event_types where event_types.id = placed.event_type_id
    ) as event_type_exists,
    joins or leaves as joins_or_leaves,
    user_id is null
    or exists (select 1 from users where users.id = placed.user_id) as user_exists,
    timestamp is null
    or timestamp < $start_instant
    or exists (
        select 1
        from events
        where
            events.id = placed.id
            and events.event_type_id in (
                select event_types.id
                from event_types
                where event_types.code in ('user_joined_fast', 'user_left_fast')
            )
    ) as in_events,
    not joins
    or user_id is null
    or fast_id is null
    or coalesce(last_leave > place, false)
    or exists (
        select 1
        from members
        where members.user_id = placed.user_id and members.fast_id = placed.fast_id
    )
    or not exists (select 1 from fasts where fasts.id = placed.fast_id) as holds
from placed
