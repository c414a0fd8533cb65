-- Grain: one row a member of a fast as of the period's end. Key: (user_id, fast_id); id.
-- Beside the members, the rows of the membership table that have no user and so count for nobody.
-- `id` is null where the member has left the table since, `keyed` false where the table lacks it,
-- `joined` true where the pair has a join event before the end.
with seen as (
    select
        user_id,
        fast_id,
        true as user_exists
    from members
    union all
    select
        user_id,
        fast_id,
        user_id is null as user_exists
    from memberships
    where not exists (select 1 from users where users.id = memberships.user_id)
),

in_table as (
    select
        user_id,
        fast_id,
        min(id) as id,
        count(*) = count(id) as keyed
    from memberships
    group by user_id, fast_id
)

select
    in_table.id,
    seen.user_id,
    seen.fast_id,
    coalesce(in_table.keyed, true) as keyed,
    seen.user_exists,
    -- A member who has left the table since may have gone with the fast.
    in_table.keyed is null
    or seen.fast_id is null
    or exists (select 1 from fasts where fasts.id = seen.fast_id) as fast_exists,
    exists (
        select 1
        from membership_events
        where
            membership_events.user_id = seen.user_id
            and membership_events.fast_id = seen.fast_id
            and membership_events.timestamp < $end_instant
            and membership_events.event_type_id in (
                select event_types.id from event_types where event_types.code = 'user_joined_fast'
            )
    ) as joined
from seen
left join in_table
    on
        seen.user_id is not distinct from in_table.user_id
        and seen.fast_id is not distinct from in_table.fast_id
