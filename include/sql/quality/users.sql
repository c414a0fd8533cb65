-- Grain: one user that the report sees. Key: id.
-- who registered before the end, or is named by a row that the report reads. Text is
-- only told as there (1) or missing (null).
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
    or exists (select 1 from activities where activities.user_id = users.id)
    or exists (select 1 from events where events.user_id = users.id)
    or exists (
        select 1
        from membership_events
        where membership_events.user_id = users.id and membership_events.timestamp < $end_instant
    )
