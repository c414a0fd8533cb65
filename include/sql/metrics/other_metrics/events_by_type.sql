-- Grain: one row an event type that occurs in the period. Key: code.
select
    code,
    total as events
from usage
order by code
