-- Grain: one row a join or leave event before the period's end. Key: id.
-- `in_events` is false for an event of the period that is none of the extracted events. `holds` is
-- false for a join that no leave follows before the end though the user is no member as of the end
-- and the fast, which takes its memberships along, still exists. A reference that is missing counts
-- as found: whether it may be missing is another expectation.
with before_end as (
    select
        membership_events.id,
        membership_events.event_type_id,
        membership_events.user_id,
        membership_events.fast_id,
        membership_events.timestamp,
        coalesce(
            membership_events.event_type_id in (
                select event_types.id from event_types where event_types.code = 'user_joined_fast'
            ),
            false
        ) as joins,
        coalesce(
            membership_events.event_type_id in (
                select event_types.id from event_types where event_types.code = 'user_left_fast'
            ),
            false
        ) as leaves,
        row_number() over (
            partition by membership_events.user_id, membership_events.fast_id
            order by membership_events.timestamp, membership_events.id
        ) as place
    from membership_events
    where membership_events.timestamp is null or membership_events.timestamp < $end_instant
),

placed as (
    select
        id,
        event_type_id,
        user_id,
        fast_id,
        timestamp,
        joins,
        leaves,
        place,
        max(case when leaves then place end) over (partition by user_id, fast_id) as last_leave
    from before_end
),

events_in_period as (
    select events.id
    from events
    where
        events.event_type_id in (
            select event_types.id
            from event_types
            where event_types.code in ('user_joined_fast', 'user_left_fast')
        )
),

open_joins as (
    select placed.id
    from placed
    inner join fasts on placed.fast_id = fasts.id
    left join members on placed.user_id = members.user_id and placed.fast_id = members.fast_id
    where
        placed.joins
        and placed.user_id is not null
        and members.user_id is null
        and (placed.last_leave is null or placed.last_leave < placed.place)
)

select
    placed.id,
    placed.event_type_id,
    placed.user_id,
    placed.fast_id,
    placed.timestamp,
    coalesce(
        placed.event_type_id in (
            select event_types.id from event_types where event_types.id is not null
        ),
        true
    ) as event_type_exists,
    placed.joins or placed.leaves as joins_or_leaves,
    coalesce(
        placed.user_id in (select users.id from users where users.id is not null), true
    ) as user_exists,
    coalesce(
        placed.timestamp < $start_instant
        or placed.id in (
            select events_in_period.id from events_in_period where events_in_period.id is not null
        ),
        true
    ) as in_events,
    coalesce(
        placed.id not in (select open_joins.id from open_joins where open_joins.id is not null),
        true
    ) as holds
from placed
