-- Grain: one row a join or leave event of the period whose target is a fast. Key: id.
select
    membership_events.id,
    membership_events.fast_id,
    event_types.code
from membership_events
inner join event_types on membership_events.event_type_id = event_types.id
where
    membership_events.timestamp >= $start_instant
    and membership_events.timestamp < $end_instant
