-- Grain: one event of the period. Key: id.
-- `user_known` is false where an event has no user though its type is something that
-- a user does or reaches; a type that the app does not create itself may do without.
select
    id,
    event_type_id,
    user_id,
    timestamp,
    exists (
        select 1 from event_types where event_types.id = events.event_type_id
    ) as event_type_exists,
    user_id is null
    or exists (select 1 from users where users.id = events.user_id) as user_exists,
    user_id is not null
    or not exists (
        select 1
        from event_types
        where
            event_types.id = events.event_type_id
            and event_types.code in (
                'app_open', 'checklist_used', 'devotional_viewed', 'prayer_request_viewed',
                'prayer_set_viewed', 'prayer_viewed', 'screen_view', 'session_end',
                'session_start', 'tutorial_video_viewed', 'user_milestone_reached',
                'prayer_request_thanks_sent', 'prayer_request_accepted',
                'prayer_request_created', 'user_account_created', 'user_joined_fast',
                'user_left_fast', 'user_logged_in', 'user_logged_out'
            )
    ) as user_known
from events
