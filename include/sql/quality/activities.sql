-- Grain: one row an activity of the period. Key: id.
-- Title and description are only told as there (1) or missing (null). A reference that is missing
-- counts as found: whether it may be missing is another expectation.
select
    id,
    user_id,
    activity_type,
    created_at,
    case when title is not null then 1 end as title,
    case when description is not null then 1 end as description,
    content_type_id,
    object_id,
    coalesce(
        user_id in (select users.id from users where users.id is not null), true
    ) as user_exists,
    coalesce(
        content_type_id in (
            select content_types.id from content_types where content_types.id is not null
        ),
        true
    ) as content_type_exists
from activities
