-- Grain: one row a day, type of lifecycle or milestone event, fast, and milestone. Key: all these.
-- Days are counted from 1, by their first instants `starts`. Nobody is named: users' events are
-- counted.
-- Reads the types' events of the days asked for through the index on (event_type_id, timestamp):
-- the type ids are literals, so that the planner knows how few these types' events are. The content
-- type is looked at last, for its index holds millions.
select
    recent.day,
    recent.code,
    recent.fast_id,
    fasts.label as fast,
    fasts.church_name as church,
    recent.milestone_type,
    recent.participants,
    recent.events
from (
    with happened as materialized (
        select
            event_type_id,
            content_type_id,
            object_id,
            timestamp,
            data,
            threshold
        from with_threshold
        where
            event_type_id = any(%(type_ids)s)
            and timestamp >= (%(starts)s::timestamptz[])[1]
            and timestamp < %(until)s
    )

    select
        width_bucket(happened.timestamp, %(starts)s::timestamptz[]) as day,
        event_type.code,
        happened.object_id as fast_id,
        coalesce(happened.data ->> 'milestone_type', '') as milestone_type,
        case when event_type.code = 'fast_participant_milestone' then happened.threshold end
            as participants,
        count(*) as events
    from happened
    inner join events_eventtype as event_type on happened.event_type_id = event_type.id
    inner join django_content_type as target on happened.content_type_id = target.id
    where target.app_label = 'hub' and target.model = 'fast'
    group by day, event_type.code, fast_id, milestone_type, participants
) as recent
left join fasts on recent.fast_id = fasts.fast_id
order by
    recent.day desc,
    recent.code asc,
    fast asc,
    recent.fast_id asc,
    recent.milestone_type asc,
    recent.participants asc
limit %(at_most)s
