-- Grain: one row an event of the period. Key: id.
-- `user_known` is false where an event has no user though its type is something that a user does or
-- reaches; types that the app does not create itself may do without. A reference that is missing
-- counts as found: whether it may be missing is another expectation.
select
    id,
    event_type_id,
    user_id,
    timestamp,
    coalesce(
        event_type_id in (select event_types.id from event_types where event_types.id is not null),
        true
    ) as event_type_exists,
    coalesce(
        user_id in (select users.id from users where users.id is not null), true
    ) as user_exists,
    user_id is not null
    or coalesce(
        event_type_id not in (
            select event_types.id
            from event_types
            where
                event_types.id is not null
                and event_types.code in (
                    'app_open',
                    'checklist_used',
                    'devotional_viewed',
                    'prayer_request_accepted',
                    'prayer_request_created',
                    'prayer_request_thanks_sent',
                    'prayer_request_viewed',
                    'prayer_set_viewed',
                    'prayer_viewed',
                    'screen_view',
                    'session_end',
                    'session_start',
                    'tutorial_video_viewed',
                    'user_account_created',
                    'user_joined_fast',
                    'user_left_fast',
                    'user_logged_in',
                    'user_logged_out',
                    'user_milestone_reached'
                )
        ),
        true
    ) as user_known
from events
