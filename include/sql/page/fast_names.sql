-- Grain: one row a fast that exists. Key: fast_id.
-- As they are: a cell of a CSV file may begin with an apostrophe for spreadsheets.
select
    fast_id,
    fast_name,
    church_name
from fast_labels
order by fast_id
