-- Grain: one row a (video_id, title) as the event tells it, the ten most viewed of the period.
select
    events.video_id,
    events.video_title as title,
    count(*) as views
from events
inner join event_types on events.event_type_id = event_types.id
where event_types.code = 'tutorial_video_viewed'
group by events.video_id, events.video_title
order by views desc, events.video_id asc nulls last, events.video_title asc nulls last
limit 10
