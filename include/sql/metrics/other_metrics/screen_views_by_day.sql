-- Grain: one row a day of the period. Key: date.
-- Screen views, days without one included.
with screen_views as (
    select events.timestamp
    from events
    inner join event_types on events.event_type_id = event_types.id
    where event_types.code = 'screen_view'
)

select
    days.date,
    count(screen_views.timestamp) as views
from days
left join screen_views
    on
        days.start_instant <= screen_views.timestamp
        and days.end_instant > screen_views.timestamp
group by days.date
order by days.date
