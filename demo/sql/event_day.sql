-- One day of events: those that follow from the app's state, and what users do in the app.
insert into events_event (
    id, object_id, title, description, data, timestamp, ip_address, user_agent, created_at,
    content_type_id, event_type_id, user_id, i18n
)
select
    %(first_id)s + row_number() over (order by at, source, n),
    object_id,
    title,
    description,
    data,
    at,
    case
        when pg_temp.rnd(n, 90) < 0.7
            then inet '10.0.0.0' + floor(pg_temp.rnd(coalesce(user_id, 0), 91) * 16777216)::bigint
        else inet '2001:db8::' + floor(pg_temp.rnd(coalesce(user_id, 0), 92) * 1e15)::bigint
    end,
    agent.name,
    at + (2 + 40 * pg_temp.rnd(n, 93)) * interval '1 millisecond',
    content_type_id,
    event_type_id,
    user_id,
    '{}'
from (
    select
        at,
        1 as source,
        n,
        object_id,
        title,
        description,
        data,
        content_type_id,
        event_type_id,
        user_id
    from demo.facts
    where day = %(day)s
    union all
    select
        b.at,
        2,
        b.n,
        case
            when k.code = 'devotional_viewed' then d.devotional_id
            when k.code = 'tutorial_video_viewed' then v.id
            when k.model is not null then 1 + floor(b.r * 40)::integer
        end,
        case k.code
            when 'screen_view' then 'Screen view: ' || s.name
            else k.title
        end,
        '',
        case k.code
            when 'screen_view' then jsonb_build_object(
                'path', s.detail, 'screen', s.name, 'source', 'app_ui', 'session_id', b.session
            )
            when 'session_end' then jsonb_build_object(
                'requests', floor(b.r * 40), 'session_id', b.session,
                'duration_seconds', floor(b.r * b.r * 2400)
            )
            when 'devotional_viewed' then jsonb_build_object(
                'day', d.devotional_date, 'fast_id', d.fast_id, 'devotional_id', d.devotional_id
            )
            when 'checklist_used' then jsonb_build_object(
                'action', case when b.r < 0.6 then 'morning_review' else 'evening_review' end,
                'context', 'general', 'fast_id', null, 'fast_name', null
            )
            when 'tutorial_video_viewed' then jsonb_build_object(
                'title', v.title, 'video_id', v.id
            )
            when 'user_logged_in' then '{"via": "jwt"}'
            when 'user_logged_out' then '{"via": "jwt"}'
            when 'app_open' then jsonb_build_object(
                'path', '/api/fasts/', 'platform', b.platform,
                'session_id', b.session, 'app_version', b.version
            )
            when 'session_start' then jsonb_build_object(
                'path', '/api/fasts/', 'platform', b.platform,
                'session_id', b.session, 'app_version', b.version
            )
            else jsonb_build_object('id', 1 + floor(b.r * 40)::integer)
        end,
        k.content_type_id,
        k.event_type_id,
        case when k.has_user and b.r2 > 0.01 then b.user_id end
    from (
        select
            h.first + i as n,
            h.hour,
            h.hour
            + ((i + pg_temp.rnd(h.first + i, 80)) / h.rows) * interval '1 hour' as at,
            pg_temp.pick_user(h.first + i, h.users) as user_id,
            pg_temp.rnd(h.first + i, 81) as r,
            pg_temp.rnd(h.first + i, 82) as r2
        from demo.hours as h, generate_series(0, h.rows - 1) as i
        where h.kind = 'event' and h.hour >= %(day)s and h.hour < %(day)s + interval '1 day'
        -- Computed once a row, not once for each use of a column.
        offset 0
    ) as a
    cross join lateral (
        select
            a.*,
            md5(a.user_id || ' ' || a.hour)::uuid as session,
            case when mod(a.user_id, 3) = 0 then 'android' else 'ios' end as platform,
            '1.9.' || mod(a.user_id, 4) as version
    ) as b
    inner join demo.event_kinds as k on k.slot = floor(pg_temp.rnd(b.n, 83) * 1000)
    inner join demo.slots as s
        on s.list = 'screen' and s.slot = floor(pow(b.r, 1.8) * 64)
    inner join learning_resources_video as v on v.id = 1 + floor(pow(b.r, 1.6) * 12)
    inner join demo.devotional_slots as d
        on d.day = %(day)s and d.slot = floor(pow(b.r, 1.5) * 8)
) as rows
inner join demo.slots as agent
    on
        agent.list = 'agent'
        and agent.slot = floor(pg_temp.rnd(coalesce(user_id, 0), 94) * 64);
