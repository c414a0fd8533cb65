-- Grain: one row a fast that exists. Key: id.
-- Reads the whole table: a few thousand rows, all of them needed.
select
    id,
    name,
    year,
    church_id
from hub_fast
