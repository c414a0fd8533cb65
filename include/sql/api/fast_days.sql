-- Grain: one row a day and an event type. Key: (day, event_type_id). `starts` are first instants
-- of days, counted from 1; the day 0 is all time before them, the last one all time from it on.
-- Reads through the index on (content_type_id, object_id, timestamp), and the rows themselves: no
-- index holds both what an event is about and its type. Most of a fast's events are joins and
-- leaves: to read another index for them takes longer than the others take.
select
    width_bucket(timestamp, %(starts)s::timestamptz[]) as day,
    event_type_id,
    count(*) as events
from events_event
where
    content_type_id = %(content_type_id)s
    and object_id = %(fast_id)s
    and (%(start)s::timestamptz is null or timestamp >= %(start)s)
    and (%(end)s::timestamptz is null or timestamp < %(end)s)
group by day, event_type_id
order by day, event_type_id
