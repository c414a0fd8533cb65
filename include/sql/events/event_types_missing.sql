-- Grain: one row an event type that the kinds write and the app's database lacks. Key: code.
-- Reads through the unique key on code.
select
    needed.code,
    initcap(replace(needed.code, '_', ' ')) as name,
    needed.category,
    needed.requires_target
from (
    values
    ('fast_beginning', 'system_event', true),
    ('fast_ending', 'system_event', true),
    ('devotional_available', 'notification', true),
    ('fast_participant_milestone', 'milestone', true),
    ('user_milestone_reached', 'milestone', false)
) as needed (code, category, requires_target)
where not exists (select from events_eventtype where events_eventtype.code = needed.code)
order by needed.code
