-- Grain: one row a video as the event tells it, the ten most viewed of the period. Key: (video_id,
-- title), either of which can be null.
select
    video_id,
    title,
    count(*) as views
from video_views
group by video_id, title
order by views desc, video_id asc nulls last, title asc nulls last
limit 10
