-- Grain: one row, the content type of fasts, or none.
-- Reads through the unique key on (app_label, model).
select id
from django_content_type
where app_label = 'hub' and model = 'fast'
