-- Grain: one row. Events `checklist_used` of the period; anonymous ones count in the
-- total alone.
select
    coalesce(sum(events), 0) as total_uses,
    count(user_id) as unique_users,
    rounded(coalesce(sum(case when user_id is not null then events end), 0), count(user_id))
        as avg_per_user
from user_events
where code = 'checklist_used'
