-- The spells of membership as they really were; what the app's tables tell of them comes after.
create unlogged table demo.spells as
with chances as (
    select
        p.id as profile_id,
        u.id as user_id,
        u.username,
        u.date_joined,
        f.*,
        u.id::bigint * 1000 + f.fast_id as n
    from auth_user as u
    inner join hub_profile as p on p.user_id = u.id
    cross join demo.fasts as f
    where
        pg_temp.rnd(u.id::bigint * 1000 + f.fast_id, 50)
        < f.share * (0.4 + 1.2 * pg_temp.rnd(u.id, 51))
        and u.date_joined < f.join_until
),

joined as (
    select
        *,
        greatest(
            date_joined + (1 + 200 * pg_temp.rnd(n, 52)) * interval '1 minute',
            date_trunc('day', join_from + pg_temp.rnd(n, 53) * (join_until - join_from))
            + (6 + 9 * (pg_temp.rnd(n, 54) + pg_temp.rnd(n, 55))) * interval '1 hour'
        ) as joined_at
    from chances
),

ended as (
    select
        *,
        case
            when pg_temp.rnd(n, 56) < 0.14
                then joined_at
                    + (5 + 30000 * pow(pg_temp.rnd(n, 57), 2)) * interval '1 minute'
        end as left_at
    from joined
    where joined_at < %(end)s
)

select
    n,
    1 as spell,
    profile_id,
    user_id,
    username,
    fast_id,
    joined_at,
    case when left_at < %(end)s then left_at end as left_at
from ended
union all
select
    n,
    2,
    profile_id,
    user_id,
    username,
    fast_id,
    left_at + (10 + 7000 * pg_temp.rnd(n, 58)) * interval '1 minute',
    null
from ended
where
    pg_temp.rnd(n, 59) < 0.2
    and left_at + (10 + 7000 * pg_temp.rnd(n, 58)) * interval '1 minute' < %(end)s;

insert into hub_profile_fasts (id, profile_id, fast_id)
select row_number() over (order by joined_at, n), profile_id, fast_id
from demo.spells
where
    left_at is null
    and fast_id in (select id from hub_fast)
    -- A few memberships were ended in bulk, without an event.
    and pg_temp.rnd(n, 60) > 0.004;

insert into events_usermilestone (
    id, milestone_type, object_id, achieved_at, data, content_type_id, user_id
)
select
    row_number() over (order by joined_at, n),
    'first_fast_join',
    fast_id,
    joined_at,
    jsonb_build_object('fast_id', fast_id),
    (select id from django_content_type where model = 'fast'),
    user_id
from (
    select distinct on (user_id) * from demo.spells order by user_id, joined_at, n
) as first_spells
where joined_at < %(lifecycle_until)s;
