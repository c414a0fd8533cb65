-- Grain: one row. The usage of `tutorial_video_viewed`, zeros where it does not occur.
select
    coalesce(max(total), 0) as total_views,
    coalesce(max(unique_users), 0) as unique_users,
    coalesce(max(avg_per_user), 0.0) as avg_per_user
from usage
where code = 'tutorial_video_viewed'
