-- Grain: one row a due beginning. Key: fast_id.
select
    due.fast_id,
    due.at,
    due.found,
    fasts.label,
    null::integer as user_id,
    fasts.label || ' begins' as title,
    'The fast ' || fasts.label || ' begins.' as description,
    jsonb_build_object(
        'fast_id', fasts.fast_id,
        'fast_name', fasts.fast_name,
        'church_id', fasts.church_id,
        'church_name', fasts.church_name,
        'year', fasts.year,
        'participant_count', coalesce(participants.participants, 0)
    ) as data
from due
inner join fasts on due.fast_id = fasts.fast_id
left join participants on due.fast_id = participants.fast_id and due.at = participants.at
