-- Grain: one row a church. Key: id.
-- Reads the whole table: a few hundred rows, all of them needed.
select
    id,
    name
from hub_church
