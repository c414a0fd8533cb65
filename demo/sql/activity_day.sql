-- One day of the activity feed: what follows from the day's events, and the notifications.
insert into events_useractivityfeed (
    id, activity_type, object_id, title, description, is_read, read_at, created_at, data,
    content_type_id, event_id, user_id, i18n
)
select
    %(first_id)s + row_number() over (order by at, source, n),
    activity_type,
    object_id,
    title,
    description,
    read_at < %(end)s,
    case when read_at < %(end)s then read_at end,
    at,
    data,
    content_type_id,
    event_id,
    user_id,
    '{}'
from (
    select
        1 as source,
        n,
        at,
        activity_type,
        object_id,
        title,
        description,
        data,
        content_type_id,
        event_id,
        user_id,
        case
            when pg_temp.rnd(n, 100) < 0.8
                then at + (1 + 3000 * pow(pg_temp.rnd(n, 101), 3)) * interval '1 minute'
            else 'infinity'
        end as read_at
    from demo.echoes
    where day = %(day)s
    union all
    select
        2,
        b.n,
        b.at,
        k.activity_type,
        case k.model
            when 'fast' then f.fast_id
            when 'devotional' then d.devotional_id
            else 1 + floor(b.r * 15)::integer
        end,
        case k.activity_type
            when 'fast_start' then f.label || ' has begun'
            when 'fast_reminder' then 'Fast Reminder: ' || f.name
            when 'devotional_available' then 'New devotional available for ' || f.label
            when 'devotional_reminder' then 'New Devotional: ' || d.title
            else k.title || (1 + floor(b.r * 15)::integer)
        end,
        case k.activity_type
            when 'fast_start' then 'Fast ''' || f.name || ''' has begun'
            when 'fast_reminder'
                then 'The ' || f.name || ' is starting soon. Don''t forget to join!'
            when 'devotional_available'
                then 'New devotional available for fast ''' || f.name || ''''
            else k.description
        end,
        case k.model
            when 'fast' then jsonb_build_object('fast_id', f.fast_id)
            when 'devotional' then jsonb_build_object('devotional_id', d.devotional_id)
            else '{}'
        end,
        k.content_type_id,
        null,
        b.user_id,
        case
            when pg_temp.rnd(b.n, 102) < 0.55
                then b.at + (1 + 5000 * pow(pg_temp.rnd(b.n, 103), 3)) * interval '1 minute'
            else 'infinity'
        end
    from (
        select
            h.first + i as n,
            h.hour
            + ((i + pg_temp.rnd(h.first + i, 104)) / h.rows) * interval '1 hour' as at,
            pg_temp.pick_user(h.first + i, h.users) as user_id,
            pg_temp.rnd(h.first + i, 105) as r
        from demo.hours as h, generate_series(0, h.rows - 1) as i
        where h.kind = 'activity' and h.hour >= %(day)s and h.hour < %(day)s + interval '1 day'
        offset 0
    ) as b
    inner join demo.activity_kinds as k on k.slot = floor(pg_temp.rnd(b.n, 106) * 100)
    inner join demo.fast_slots as f on f.day = %(day)s and f.slot = floor(pow(b.r, 1.5) * 8)
    inner join demo.devotional_slots as d
        on d.day = %(day)s and d.slot = floor(pow(b.r, 1.5) * 8)
) as rows;
