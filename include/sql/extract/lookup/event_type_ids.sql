-- Grain: one row an event type that a dataset looks into. Key: code.
-- Reads the whole table: some thirty rows.
select
    code,
    id
from events_eventtype
where code in ('user_joined_fast', 'user_left_fast', 'screen_view', 'tutorial_video_viewed')
order by code
