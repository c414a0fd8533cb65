-- Grain: one row a user that the report sees. Key: id.
-- The user registered before the period's end, or is named by a row that the report reads. User
-- name and address are only told as there (1) or missing (null).
select
    id,
    case when username is not null then 1 end as username,
    case when email is not null then 1 end as email,
    date_joined
from users
where
    id is null
    or date_joined is null
    or date_joined < $end_instant
    or id in (select activities.user_id from activities)
    or id in (select events.user_id from events)
    or id in (
        select membership_events.user_id
        from membership_events
        where membership_events.timestamp < $end_instant
    )
