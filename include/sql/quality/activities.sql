-- Grain: one activity of the period. Key: id.
-- Titles and descriptions are only told as there (1) or missing (null).
select
    id,
    user_id,
    activity_type,
    created_at,
    case when title is not null then 1 end as title,
    case when description is not null then 1 end as description,
    content_type_id,
    object_id,
    user_id is null
    or exists (select 1 from users where users.id = activities.user_id) as user_exists,
    content_type_id is null
    or exists (
        select 1 from content_types where content_types.id = activities.content_type_id
    ) as content_type_exists
from activities
