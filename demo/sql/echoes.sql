-- The activities that the app writes beside an event of the user.
create unlogged table demo.echoes as
select
    e.id as n,
    e.timestamp as at,
    e.timestamp::date as day,
    case t.code
        when 'user_joined_fast' then 'fast_join'
        when 'user_left_fast' then 'fast_leave'
        when 'user_account_created' then 'user_account_created'
        else 'milestone'
    end as activity_type,
    e.object_id,
    case t.code
        when 'user_joined_fast' then 'Joined ' || f.label
        when 'user_left_fast' then 'Left ' || f.label
        when 'user_account_created' then 'Account created'
        else 'Joined your first fast'
    end as title,
    case t.code
        when 'user_milestone_reached' then 'You joined your first fast. May it be a blessed one.'
        else ''
    end as description,
    case when f.fast_id is null then '{}' else jsonb_build_object('fast_id', f.fast_id) end as data,
    e.content_type_id,
    e.id as event_id,
    e.user_id
from events_event as e
inner join events_eventtype as t on t.id = e.event_type_id
left join demo.fasts as f
    on f.fast_id = e.object_id and t.code <> 'user_account_created'
where
    t.code in (
        'user_joined_fast', 'user_left_fast', 'user_account_created', 'user_milestone_reached'
    )
    and e.timestamp >= %(start)s
    and e.user_id is not null
-- The app removes activities that were read, so not every event still has one.
order by pg_temp.rnd(e.id, 110), e.id
limit %(activities)s / 2;
