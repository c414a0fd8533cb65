-- Grain: one row a fast that exists. Key: fast_id.
-- Members as of the period's end, and the join and leave events of the period.
with participants as (
    select
        fast_id,
        count(*) as participants
    from members
    group by fast_id
),

flow as (
    select
        fast_id,
        count(case when code = 'user_joined_fast' then 1 end) as joins,
        count(case when code = 'user_left_fast' then 1 end) as leaves
    from fast_events_in_period
    group by fast_id
)

select
    fast_labels.fast_id,
    fast_labels.fast_name,
    fast_labels.church_name,
    coalesce(participants.participants, 0) as participants,
    coalesce(flow.joins, 0) as joins_in_period,
    coalesce(flow.leaves, 0) as leaves_in_period
from fast_labels
left join participants on fast_labels.fast_id = participants.fast_id
left join flow on fast_labels.fast_id = flow.fast_id
order by fast_labels.fast_id
