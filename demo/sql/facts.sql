-- The events that follow from users, memberships and the calendar.
create unlogged table demo.facts as
with facts (at, n, code, user_id, model, object_id, title, description, data) as (
    select
        u.date_joined,
        u.id::bigint,
        'user_account_created',
        u.id,
        'profile',
        p.id::integer,
        u.username || ' triggered user account created',
        'User ' || u.username || ' completed account creation',
        jsonb_build_object(
            'email', u.email, 'user_id', u.id, 'username', u.username, 'profile_id', p.id
        )
    from auth_user as u
    inner join hub_profile as p on p.user_id = u.id
    union all
    select
        s.joined_at,
        s.n,
        'user_joined_fast',
        -- A few events lack their user.
        case when pg_temp.rnd(s.n, 70) > 0.002 then s.user_id end,
        'fast',
        s.fast_id,
        s.username || ' joined ' || f.label,
        'User ' || s.username || ' joined the fast ''' || f.name || '''',
        jsonb_build_object(
            'fast_id', f.fast_id, 'user_id', s.user_id, 'username', s.username,
            'church_id', f.church_id, 'fast_name', f.name, 'utm_source', null,
            'church_name', f.church_name, 'join_source', null, 'utm_campaign', null
        )
    from demo.spells as s
    inner join demo.fasts as f on f.fast_id = s.fast_id
    -- Some joined in bulk, without an event.
    where pg_temp.rnd(s.n, 71 + s.spell) > 0.015
    union all
    select
        s.left_at,
        s.n,
        'user_left_fast',
        s.user_id,
        'fast',
        s.fast_id,
        s.username || ' left ' || f.label,
        'User ' || s.username || ' left the fast ''' || f.name || '''',
        jsonb_build_object(
            'fast_id', f.fast_id, 'user_id', s.user_id, 'username', s.username,
            'church_id', f.church_id, 'fast_name', f.name, 'church_name', f.church_name
        )
    from demo.spells as s
    inner join demo.fasts as f on f.fast_id = s.fast_id
    where s.left_at is not null and pg_temp.rnd(s.n, 74) > 0.02
    union all
    select
        m.achieved_at + interval '1 second',
        m.id,
        'user_milestone_reached',
        m.user_id,
        'fast',
        m.object_id,
        'Milestone reached: first fast',
        u.username || ' joined a first fast',
        m.data || jsonb_build_object('milestone_type', m.milestone_type, 'milestone_id', m.id)
    from events_usermilestone as m
    inner join auth_user as u on u.id = m.user_id
    union all
    select
        j.joined_at,
        j.fast_id * 10000 + j.position,
        'fast_participant_milestone',
        null,
        'fast',
        j.fast_id,
        f.label || ' has ' || j.position || ' participants',
        'The fast ''' || f.name || ''' has ' || j.position || ' participants',
        jsonb_build_object(
            'fast_id', f.fast_id, 'fast_name', f.name, 'church_id', f.church_id,
            'church_name', f.church_name, 'milestone', j.position,
            'participant_count', j.position, 'milestone_type', 'participant_count'
        )
    from (
        select
            fast_id,
            joined_at,
            row_number() over (partition by fast_id order by joined_at, n) as position
        from demo.spells
        where spell = 1
    ) as j
    inner join demo.fasts as f on f.fast_id = j.fast_id
    where
        j.position in (10, 25, 50, 100, 250, 500, 1000)
        and j.joined_at < %(lifecycle_until)s
    union all
    select
        c.at,
        c.n,
        c.code,
        null,
        c.model,
        c.object_id,
        c.title,
        c.description,
        c.data
    from demo.calendar as c
)

select
    f.*,
    t.id as event_type_id,
    c.id as content_type_id,
    greatest(f.at, %(start)s)::date as day
from facts as f
inner join events_eventtype as t on t.code = f.code
left join django_content_type as c on c.model = f.model
where f.at < %(end)s;
