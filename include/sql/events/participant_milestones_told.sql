-- Grain: one row a fast and threshold that it has reached, now or before. Key: both.
select
    due.fast_id,
    due.at,
    due.found,
    fasts.label,
    null::integer as user_id,
    fasts.label || ' has ' || due.milestone || ' participants' as title,
    'The fast ' || fasts.label || ' has reached ' || due.milestone
    || ' participants.' as description,
    jsonb_build_object(
        'fast_id', fasts.fast_id,
        'fast_name', fasts.fast_name,
        'church_id', fasts.church_id,
        'church_name', fasts.church_name,
        'participant_count', participants.participants,
        'milestone', due.milestone,
        'milestone_type', 'participant_count'
    ) as data
from due
inner join fasts on due.fast_id = fasts.fast_id
left join participants on due.fast_id = participants.fast_id and due.at = participants.at
where due.found > 0 or participants.participants >= due.milestone
