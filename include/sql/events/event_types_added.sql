-- Adds the event types of `missing`; whoever adds one at the same time wins.
insert into events_eventtype (
    code, name, description, category, is_active, track_in_analytics, requires_target, created_at,
    updated_at
)
select
    code,
    name,
    '' as description,
    category,
    true as is_active,
    true as track_in_analytics,
    requires_target,
    %(now)s as created_at,
    %(now)s as updated_at
from missing
on conflict (code) do nothing
returning code
