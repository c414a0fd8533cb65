-- Grain: one row a fast, the newest first. Key: fast_id.
-- Reads so many entries from the end of the primary key's index.
select id as fast_id
from hub_fast
order by id desc
limit %(page_size)s
