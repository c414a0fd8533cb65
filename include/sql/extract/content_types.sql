-- Grain: one row a content type. Key: id; (app_label, model).
-- Reads the whole table: some fifty rows.
select
    id,
    app_label,
    model
from django_content_type
