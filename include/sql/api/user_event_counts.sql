-- Grain: one row an event type of which the user has events. Key: event_type_id.
-- Each window begins at the instant of its name and ends at `now`, both included.
-- Reads through the index on (user_id, timestamp).
select
    event_type_id,
    count(*) as events,
    count(*) filter (
        where timestamp >= %(last_24_hours)s and timestamp <= %(now)s
    ) as last_24_hours,
    count(*) filter (where timestamp >= %(last_7_days)s and timestamp <= %(now)s) as last_7_days,
    count(*) filter (where timestamp >= %(last_30_days)s and timestamp <= %(now)s) as last_30_days,
    min(timestamp) as first_at,
    max(timestamp) as last_at
from events_event
where user_id = %(user_id)s
group by event_type_id
