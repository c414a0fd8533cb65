-- Grain: one row a fast that has members or join and leave events, whether it exists or not: the
-- pairs (user, fast) of which the two disagree, and those whose events are doubled, two of one type
-- one after the other. Key: fast_id.
-- Reads all join and leave events through the index on (event_type_id, timestamp), and the whole
-- membership table: every pair is compared.
with history as (
    select
        object_id as fast_id,
        user_id,
        event_type_id,
        event_type_id = lag(event_type_id) over pair as is_doubled,
        row_number() over pair_backwards as position
    from events_event
    where
        event_type_id in (%(join_type_id)s, %(leave_type_id)s)
        and content_type_id = %(fast_content_type_id)s
        and object_id is not null
        and user_id is not null
    window
        pair as (partition by object_id, user_id order by timestamp, id),
        pair_backwards as (partition by object_id, user_id order by timestamp desc, id desc)
),

recorded as (
    select
        fast_id,
        user_id,
        bool_or(position = 1 and event_type_id = %(join_type_id)s) as is_member,
        bool_or(is_doubled) as is_doubled
    from history
    group by fast_id, user_id
),

memberships as (
    select
        membership.fast_id,
        profile.user_id
    from hub_profile_fasts as membership
    inner join hub_profile as profile on membership.profile_id = profile.id
),

pairs as (
    select
        coalesce(memberships.fast_id, recorded.fast_id) as fast_id,
        memberships.user_id is not null as is_member,
        coalesce(recorded.is_member, false) as is_recorded,
        coalesce(recorded.is_doubled, false) as is_doubled
    from memberships
    full outer join recorded
        on memberships.fast_id = recorded.fast_id and memberships.user_id = recorded.user_id
)

select
    fast_id,
    count(*) filter (where is_member and not is_recorded) as never_recorded,
    count(*) filter (where is_recorded and not is_member) as gone,
    count(*) filter (where is_doubled) as doubled
from pairs
group by fast_id
