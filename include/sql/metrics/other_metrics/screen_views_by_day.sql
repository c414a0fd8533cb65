-- Grain: one row a day of the period. Key: date.
-- Screen views, days without one included. They are counted by half minutes first, so that few rows
-- are compared with the days: since 1970 every day of every zone begins with a half minute.
with screen_views as (
    select
        floor(epoch_us(events.timestamp) / 30000000) * 30000000 as half_minute_us,
        count(*) as views
    from events
    inner join event_types on events.event_type_id = event_types.id
    where event_types.code = 'screen_view'
    group by half_minute_us
)

select
    days.date,
    coalesce(sum(screen_views.views), 0) as views
from days
left join screen_views
    on
        epoch_us(days.start_instant) <= screen_views.half_minute_us
        and epoch_us(days.end_instant) > screen_views.half_minute_us
group by days.date
order by days.date
