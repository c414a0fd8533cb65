-- Grain: one row a milestone just added, told at the run's instant. Key: milestone_id in `data`.
select
    wanted.fast_id,
    %(now)s::timestamptz as at,
    wanted.user_id,
    wanted.title,
    wanted.description,
    wanted.data || jsonb_build_object('milestone_id', added.id) as data
from added
inner join wanted
    on
        added.user_id = wanted.user_id
        and added.milestone_type = wanted.data ->> 'milestone_type'
