-- Writes the drafts, every column as the app fills it; the address of a client stays null.
-- A title that does not fit its column is cut after its last whole word.
insert into events_event (
    object_id, title, description, data, timestamp, user_agent, created_at, content_type_id,
    event_type_id, user_id, i18n
)
select
    fast_id,
    case
        when length(title) <= 255 then title
        else left(regexp_replace(left(title, 255), '\s+\S*$', ''), 254) || '…'
    end as title,
    description,
    data,
    at,
    '' as user_agent,
    %(now)s as created_at,
    %(fast_content_type_id)s as content_type_id,
    %(event_type_id)s,
    user_id,
    null as i18n
from drafts
order by at, fast_id, user_id
returning id, object_id, title, description, data, timestamp, user_id
