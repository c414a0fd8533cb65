-- Grain: one row a milestone of the user, the newest first. Key: kind.
-- Reads through the index on (user_id, milestone_type).
select
    milestone_type as kind,
    achieved_at as reached_at
from events_usermilestone
where user_id = %(user_id)s
order by achieved_at desc, id desc
limit %(page_size)s
