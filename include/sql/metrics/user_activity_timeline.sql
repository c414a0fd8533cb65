-- Grain: one row an activity of the period. No key over these columns.
select
    activities.user_id,
    users.username,
    activities.activity_type,
    activities.created_at as timestamp,
    activities.title,
    activities.description,
    content_types.model as target_type,
    case when activities.content_type_id is not null then activities.object_id end as target_id
from activities
inner join users on activities.user_id = users.id
left join content_types on activities.content_type_id = content_types.id
order by activities.user_id asc, activities.created_at desc, activities.id desc
