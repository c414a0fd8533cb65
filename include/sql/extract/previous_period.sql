-- Grain: one row, what the previous period of the same length counts, and since when there is data.
-- active_users: one probe a user of the index on (user_id, created_at), which tells enough without
-- reading a row of the feed; where the period is so short that its activities are fewer than the
-- users, the planner reads those through the index on created_at instead.
-- screen_views: read from the index on (event_type_id, timestamp) alone.
-- first_screen_view and first_activity, null where there is none: the first entries of their
-- indexes, for screen views one entry an event type.
select
    (
        select count(*)
        from auth_user
        where exists (
            select
            from events_useractivityfeed
            where
                events_useractivityfeed.user_id = auth_user.id
                and events_useractivityfeed.created_at >= %(previous_start)s
                and events_useractivityfeed.created_at < %(start)s
        )
    ) as active_users,
    (
        select count(*)
        from events_event
        where
            event_type_id = any(%(screen_view_type_ids)s)
            and timestamp >= %(previous_start)s
            and timestamp < %(start)s
    ) as screen_views,
    (
        select min(earliest.timestamp)
        from unnest(cast(%(screen_view_type_ids)s as bigint[])) as types (id)
        cross join lateral (
            select min(events_event.timestamp) as timestamp
            from events_event
            where events_event.event_type_id = types.id
        ) as earliest
    ) as first_screen_view,
    (select min(created_at) from events_useractivityfeed) as first_activity
