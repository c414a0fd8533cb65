-- Grain: one row a content type. Key: id; the name `app_label.model` is one as well.
-- Reads the whole table, which has some dozens of rows.
select
    id,
    app_label || '.' || model as name
from django_content_type
order by name
