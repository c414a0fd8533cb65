-- Grain: one row a member of a fast as of the period's end. Key: (user_id, fast_id).
-- The pair's first join or leave event at or after the end decides: a leave tells that the user was
-- a member, a join that the user was not. Without one the membership table decides. Whoever
-- registered at the end or later was a member of nothing.
with first_event_after as (
    select
        membership_events.user_id,
        membership_events.fast_id,
        event_types.code,
        row_number() over (
            partition by membership_events.user_id, membership_events.fast_id
            order by membership_events.timestamp, membership_events.id
        ) as position
    from membership_events
    inner join event_types on membership_events.event_type_id = event_types.id
    where
        membership_events.timestamp >= $end_instant
        and membership_events.user_id is not null
),

decided as (
    select
        user_id,
        fast_id,
        code = 'user_left_fast' as is_member
    from first_event_after
    where position = 1
),

as_of_end as (
    select
        coalesce(memberships.user_id, decided.user_id) as user_id,
        coalesce(memberships.fast_id, decided.fast_id) as fast_id,
        coalesce(decided.is_member, true) as is_member
    from memberships
    full outer join decided
        on
            memberships.user_id = decided.user_id
            and memberships.fast_id = decided.fast_id
)

select
    as_of_end.user_id,
    as_of_end.fast_id
from as_of_end
inner join users on as_of_end.user_id = users.id
where as_of_end.is_member and users.date_joined < $end_instant
