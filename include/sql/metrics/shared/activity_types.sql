-- Grain: one row an activity type that occurs in the period. Key: activity_type.
select distinct activity_type
from activities
order by activity_type
