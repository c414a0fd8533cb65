-- Grain: one row an event type. Key: id.
-- Reads the whole table, which has some dozens of rows.
select
    id,
    code,
    name,
    category
from events_eventtype
order by code
