-- Grain: one row a fast, the ten most joined of the period. Key: fast_id.
-- A fast that is gone is named by its id.
select
    flow.fast_id,
    coalesce(fast_labels.fast_name, cast(flow.fast_id as varchar(11))) as fast,
    count(*) as joins
from fast_events_in_period as flow
left join fast_labels on flow.fast_id = fast_labels.fast_id
where flow.code = 'user_joined_fast'
group by flow.fast_id, fast_labels.fast_name
order by joins desc, flow.fast_id asc
limit 10
