-- Users in the order of their registration, one profile for most of them.
insert into auth_user (
    id, password, last_login, is_superuser, username, first_name, last_name, email, is_staff,
    is_active, date_joined
)
select
    pg_temp.user_id(n),
    '!',
    case
        when pg_temp.rnd(n, 20) < 0.9
            then at + pg_temp.rnd(n, 21) * (%(end)s::timestamptz - at)
    end,
    n = 1,
    case when pg_temp.rnd(n, 22) < 0.9 then email else lower(first_name) || n end,
    case when pg_temp.rnd(n, 23) < 0.5 then first_name else '' end,
    case when pg_temp.rnd(n, 23) < 0.5 then last_name else '' end,
    email,
    n <= 3,
    pg_temp.rnd(n, 24) < 0.99,
    at
from (
    select
        u.n,
        u.at,
        f.name as first_name,
        l.name as last_name,
        lower(f.detail) || '.' || lower(l.detail) || u.n || '@' || d.name as email
    from (
        select
            h.first + k as n,
            h.hour + ((k + pg_temp.rnd(h.first + k, 25)) / h.rows) * interval '1 hour' as at
        from demo.hours as h, generate_series(0, h.rows - 1) as k
        where h.kind = 'user'
    ) as u
    inner join demo.slots as f
        on f.list = 'first name' and f.slot = floor(pg_temp.rnd(u.n, 26) * 64)
    inner join demo.slots as l
        on l.list = 'last name' and l.slot = floor(pg_temp.rnd(u.n, 27) * 64)
    inner join demo.slots as d
        on d.list = 'mail domain' and d.slot = floor(pg_temp.rnd(u.n, 28) * 64)
) as named
order by n;

insert into hub_profile (
    id, church_id, user_id, location, receive_upcoming_fast_reminders,
    include_weekly_fasts_in_notifications, receive_daily_fast_push_notifications,
    receive_ongoing_fast_push_notifications, receive_upcoming_fast_push_notifications, name,
    receive_promotional_emails, timezone, utm_source, utm_campaign, join_source,
    receive_weekly_prayer_request_push_notifications
)
select
    1000 + row_number() over (order by id),
    case when pg_temp.rnd(id, 30) < 0.75 then 1 + floor(pow(pg_temp.rnd(id, 31), 2) * 6) end,
    id,
    case when pg_temp.rnd(id, 32) < 0.4 then p.name end,
    pg_temp.rnd(id, 33) < 0.5,
    pg_temp.rnd(id, 34) < 0.3,
    pg_temp.rnd(id, 35) < 0.6,
    pg_temp.rnd(id, 36) < 0.7,
    pg_temp.rnd(id, 37) < 0.8,
    nullif(first_name || ' ' || last_name, ' '),
    pg_temp.rnd(id, 38) < 0.7,
    p.detail,
    case when pg_temp.rnd(id, 39) < 0.2 then 'newsletter' end,
    case when pg_temp.rnd(id, 39) < 0.1 then 'lent' end,
    case when pg_temp.rnd(id, 40) < 0.3 then 'push' end,
    pg_temp.rnd(id, 41) < 0.6
from auth_user
inner join demo.slots as p on p.list = 'place' and p.slot = floor(pg_temp.rnd(id, 42) * 64)
where pg_temp.rnd(id, 43) < 0.95;
