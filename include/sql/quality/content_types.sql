-- Grain: one content type that an activity of the period has. Key: id.
select
    id,
    app_label,
    model
from content_types
where
    id is null
    or exists (select 1 from activities where activities.content_type_id = content_types.id)
