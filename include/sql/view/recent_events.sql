-- Grain: one row a day, type of lifecycle or milestone event, fast, and milestone. Key: all these.
-- Days are those of the report time zone. Nobody is named: users' events are counted.
-- Reads each type's events of the days asked for through the index on (event_type_id, timestamp).
with recent as (
    select
        (event.timestamp at time zone %(timezone)s)::date as day,
        event_type.code,
        event.object_id as fast_id,
        coalesce(event.data ->> 'milestone_type', '') as milestone_type,
        case
            when event_type.code = 'fast_participant_milestone' then event.data ->> 'milestone'
        end as participants,
        count(*) as events
    from events_eventtype as event_type
    cross join
        lateral (
            select
                found.timestamp,
                found.object_id,
                found.data
            from events_event as found
            where
                found.event_type_id = event_type.id
                and found.timestamp >= %(since)s
                and found.timestamp < %(until)s
                and found.content_type_id = (
                    select id
                    from django_content_type
                    where app_label = 'hub' and model = 'fast'
                )
        ) as event
    where event_type.code = any(%(codes)s)
    group by day, event_type.code, fast_id, milestone_type, participants
)

select
    recent.day,
    recent.code,
    recent.fast_id,
    fast.name || coalesce(' (' || nullif(fast.year, 0) || ')', '') as fast,
    recent.milestone_type,
    recent.participants,
    recent.events
from recent
left join hub_fast as fast on recent.fast_id = fast.id
order by
    recent.day desc,
    recent.code asc,
    fast asc,
    recent.fast_id asc,
    recent.milestone_type asc,
    length(recent.participants) asc,
    recent.participants asc
limit %(at_most)s
