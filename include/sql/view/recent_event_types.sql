-- Grain: one row a type of lifecycle or milestone event that the app has. Key: code.
-- Reads through the unique key on (code).
select
    code,
    id
from events_eventtype
where code = any(%(codes)s)
order by code
