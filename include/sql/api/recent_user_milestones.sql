-- Grain: one row a milestone that a user reached, the newest first; nothing tells whose. Key: none.
-- Reads through the index on achieved_at.
select
    milestone_type as kind,
    achieved_at as reached_at
from events_usermilestone
order by achieved_at desc, id desc
limit %(page_size)s
