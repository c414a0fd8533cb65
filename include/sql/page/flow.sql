-- Grain: one row a code and period with join or leave events of fasts. Key: (code, in_period).
-- Those of the period, and those of the previous one. Fasts that are gone count, too.
select
    event_types.code,
    membership_events.timestamp >= $start_instant as in_period,
    count(*) as events
from membership_events
inner join event_types on membership_events.event_type_id = event_types.id
where
    membership_events.timestamp >= $previous_start_instant
    and membership_events.timestamp < $end_instant
group by event_types.code, in_period
order by event_types.code, in_period
