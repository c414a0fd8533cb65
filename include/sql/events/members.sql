-- Grain: one row a member of a fast as of a moment. Key: (fast_id, at, user_id).
-- The pair's first join or leave event at or after the moment decides: a leave tells that the user
-- was a member, a join that the user was not. Without one the membership table decides. Whoever
-- registered at the moment or later was a member of nothing.
-- Reads through the indexes on (content_type_id, object_id, timestamp) of events_event and
-- (fast_id) of hub_profile_fasts; profiles and users by their keys, or whole where many are asked
-- for.
with decided as (
    select distinct on (moments.fast_id, moments.at, event.user_id)
        moments.fast_id,
        moments.at,
        event.user_id,
        event.event_type_id = %(leave_type_id)s as is_member
    from moments
    inner join events_event as event
        on moments.fast_id = event.object_id and moments.at <= event.timestamp
    where
        event.content_type_id = %(fast_content_type_id)s
        and event.event_type_id in (%(join_type_id)s, %(leave_type_id)s)
        and event.user_id is not null
    order by moments.fast_id, moments.at, event.user_id, event.timestamp, event.id
),

as_of_moment as (
    select
        moments.fast_id,
        moments.at,
        profile.user_id
    from moments
    inner join hub_profile_fasts as membership on moments.fast_id = membership.fast_id
    inner join hub_profile as profile on membership.profile_id = profile.id
    where
        not exists (
            select from decided
            where
                decided.fast_id = moments.fast_id
                and decided.at = moments.at
                and decided.user_id = profile.user_id
        )
    union all
    select
        fast_id,
        at,
        user_id
    from decided
    where is_member
)

select
    as_of_moment.fast_id,
    as_of_moment.at,
    as_of_moment.user_id
from as_of_moment
inner join auth_user as app_user on as_of_moment.user_id = app_user.id
where app_user.date_joined < as_of_moment.at
