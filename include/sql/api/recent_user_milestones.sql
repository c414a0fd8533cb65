-- Grain: one row a day and a kind of milestone, the newest day first. Key: (day, kind).
-- Days are counted from 1, by their first instants `starts`. Who reached it is not told: a user
-- reaches a kind once, and is counted.
-- Reads the milestones of the days asked for through the index on (achieved_at).
select
    width_bucket(achieved_at, %(starts)s::timestamptz[]) as day,
    milestone_type as kind,
    count(*) as users
from events_usermilestone
where achieved_at >= (%(starts)s::timestamptz[])[1] and achieved_at < %(until)s
group by day, kind
order by day desc, kind asc
limit %(page_size)s
