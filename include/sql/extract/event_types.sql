-- Grain: one row an event type. Key: id; code.
-- Reads the whole table: some thirty rows.
select
    id,
    code,
    category
from events_eventtype
