-- Grain: one row a screen, the ten most viewed of the period. Key: screen.
-- Views that name no screen are left out.
select
    events.screen,
    count(*) as views
from events
inner join event_types on events.event_type_id = event_types.id
where event_types.code = 'screen_view' and events.screen <> ''
group by events.screen
order by views desc, events.screen asc
limit 10
