-- Grain: one row a membership spell up to the period's end. No key over these columns.
-- Every join opens a spell, which the next event ends if it is a leave; a leave that ends no join
-- is a spell of its own. A member as of the end whose last event is no join has one spell more.
with history as (
    select
        membership_events.user_id,
        membership_events.fast_id,
        membership_events.timestamp,
        event_types.code,
        row_number() over pair as position,
        lag(event_types.code) over pair as previous_code,
        lead(event_types.code) over pair as next_code,
        lead(membership_events.timestamp) over pair as next_timestamp
    from membership_events
    inner join event_types on membership_events.event_type_id = event_types.id
    where
        membership_events.timestamp < $end_instant
        and membership_events.user_id is not null
    window pair as (
        partition by membership_events.user_id, membership_events.fast_id
        order by membership_events.timestamp, membership_events.id
    )
),

seen as (
    select
        user_id,
        fast_id,
        position,
        case when code = 'user_joined_fast' then timestamp end as joined_at,
        case
            when code = 'user_left_fast' then timestamp
            when next_code = 'user_left_fast' then next_timestamp
        end as left_at,
        code = 'user_joined_fast' and next_code is null as is_open
    from history
    where
        code = 'user_joined_fast'
        or coalesce(previous_code, 'user_left_fast') = 'user_left_fast'
),

unseen as (
    select
        members.user_id,
        members.fast_id
    from members
    left join seen
        on
            members.user_id = seen.user_id
            and members.fast_id = seen.fast_id
            and seen.is_open
    where seen.user_id is null
),

spells as (
    select
        seen.user_id,
        seen.fast_id,
        seen.position,
        seen.joined_at,
        seen.left_at,
        seen.is_open and members.user_id is not null as is_active
    from seen
    left join members
        on
            seen.user_id = members.user_id
            and seen.fast_id = members.fast_id
    union all
    select
        user_id,
        fast_id,
        9223372036854775807 as position,
        null as joined_at,
        null as left_at,
        true as is_active
    from unseen
)

select
    spells.user_id,
    users.username,
    users.email,
    spells.fast_id,
    fast_labels.fast_name,
    fast_labels.church_name,
    spells.joined_at,
    spells.left_at,
    case when spells.is_active then 'active' else 'left' end as status
from spells
inner join users on spells.user_id = users.id
inner join fast_labels on spells.fast_id = fast_labels.fast_id
order by spells.user_id, spells.fast_id, spells.position
