-- Grain: one row a due devotional. Key: devotional_id.
select
    due.fast_id,
    due.at,
    due.found,
    fasts.label,
    null::integer as user_id,
    'New devotional of ' || fasts.label || ': ' || video.title as title,
    'A new devotional of the fast ' || fasts.label || ' is available.' as description,
    jsonb_build_object(
        'fast_id', fasts.fast_id,
        'fast_name', fasts.fast_name,
        'church_id', fasts.church_id,
        'church_name', fasts.church_name,
        'devotional_id', devotional.id,
        'devotional_title', video.title,
        'devotional_description', devotional.description,
        'devotional_date', due.date,
        'day_id', due.day_id,
        'order', due."order"
    ) as data
from due
inner join fasts on due.fast_id = fasts.fast_id
inner join hub_devotional as devotional on due.devotional_id = devotional.id
inner join learning_resources_video as video on devotional.video_id = video.id
