-- Writes a row for each milestone that is not there; one that the app adds at the same time stays.
insert into events_usermilestone (
    milestone_type, object_id, achieved_at, data, content_type_id, user_id
)
select
    data ->> 'milestone_type' as milestone_type,
    fast_id,
    at,
    data - 'milestone_type' as data,
    %(fast_content_type_id)s as content_type_id,
    user_id
from wanted
where not is_there
order by at, user_id
on conflict (user_id, milestone_type) do nothing
returning id, user_id, milestone_type
