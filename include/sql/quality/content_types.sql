-- Grain: one row a content type that an activity of the period has. Key: id; (app_label, model).
select
    id,
    app_label,
    model
from content_types
where id is null or id in (select activities.content_type_id from activities)
