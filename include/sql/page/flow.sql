-- Grain: one row a code with join or leave events of fasts, of all time. Key: code.
-- Those of the period, those of the previous one, and the first there is, in microseconds since
-- 1970, UTC. Fasts that are gone count, too.
select
    event_types.code,
    count(case
        when
            membership_events.timestamp >= $start_instant
            and membership_events.timestamp < $end_instant
            then 1
    end) as events,
    count(case
        when
            membership_events.timestamp >= $previous_start_instant
            and membership_events.timestamp < $start_instant
            then 1
    end) as previous_events,
    min(epoch_us(membership_events.timestamp)) as first_event_us
from membership_events
inner join event_types on membership_events.event_type_id = event_types.id
group by event_types.code
order by event_types.code
