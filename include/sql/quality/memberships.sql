-- Grain: one row a member of a fast as of the period's end. Key: (user_id, fast_id); id.
-- Beside the members, the rows of the membership table whose user does not exist: they count for
-- nobody. `id` is null where the member has left the table since, `keyed` false where the table
-- lacks it; `joined` is true where the pair has a join event before the end. A reference that is
-- missing counts as found: whether it may be missing is another expectation.
with seen as (
    select
        members.user_id,
        members.fast_id,
        true as user_exists
    from members
    union all
    select
        memberships.user_id,
        memberships.fast_id,
        memberships.user_id is null as user_exists
    from memberships
    left join users on memberships.user_id = users.id
    where users.id is null
),

in_table as (
    select
        user_id,
        fast_id,
        min(id) as id,
        count(*) = count(id) as keyed
    from memberships
    group by user_id, fast_id
),

joins as (
    select distinct
        membership_events.user_id,
        membership_events.fast_id
    from membership_events
    where
        membership_events.timestamp < $end_instant
        and membership_events.event_type_id in (
            select event_types.id from event_types where event_types.code = 'user_joined_fast'
        )
)

select
    in_table.id,
    seen.user_id,
    seen.fast_id,
    coalesce(in_table.keyed, true) as keyed,
    seen.user_exists,
    -- A member who has left the table since may have gone with the fast.
    in_table.keyed is null or coalesce(
        seen.fast_id in (select fasts.id from fasts where fasts.id is not null), true
    ) as fast_exists,
    joins.user_id is not null as joined
from seen
left join in_table
    on
        seen.user_id is not distinct from in_table.user_id
        and seen.fast_id is not distinct from in_table.fast_id
left join joins on seen.user_id = joins.user_id and seen.fast_id = joins.fast_id
