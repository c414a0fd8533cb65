-- The roles that the pipelines use the app's database as, each with no more rights than its queries
-- need: `engagement_reader` reads for the reports, the view and the API (`include/sql/extract`,
-- `include/sql/view` and `include/sql/api`), `engagement_writer` reads and adds rows for lifecycle
-- and milestone events (`include/sql/events`). Run it as the database's owner, as often as you
-- like, then give each role a password: `alter role engagement_reader login password '...'`.
do $$
declare
    name text;
begin
    foreach name in array array['engagement_reader', 'engagement_writer'] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I login', name);
        end if;
    end loop;
end
$$;

alter role engagement_reader set default_transaction_read_only = on;

grant usage on schema public to engagement_reader;
grant select (id, username, email, date_joined) on auth_user to engagement_reader;
grant select (id, name) on hub_church to engagement_reader;
grant select (id, name, year, church_id) on hub_fast to engagement_reader;
grant select (id, user_id) on hub_profile to engagement_reader;
grant select (id, profile_id, fast_id) on hub_profile_fasts to engagement_reader;
grant select (id, app_label, model) on django_content_type to engagement_reader;
grant select (id, code, name, category) on events_eventtype to engagement_reader;
grant
select (
    id, event_type_id, user_id, content_type_id, object_id, timestamp, title, description, data
)
on events_event to engagement_reader;
grant select (id, user_id, milestone_type, achieved_at)
on events_usermilestone to engagement_reader;
grant
select (
    id, user_id, activity_type, created_at, title, description, content_type_id, object_id
)
on events_useractivityfeed to engagement_reader;

grant usage on schema public to engagement_writer;
grant select (id, date_joined) on auth_user to engagement_writer;
grant select (id, name) on hub_church to engagement_writer;
grant select (id, name, year, church_id) on hub_fast to engagement_writer;
grant select (id, user_id) on hub_profile to engagement_writer;
grant select (profile_id, fast_id) on hub_profile_fasts to engagement_writer;
grant select (date, fast_id, id) on hub_day to engagement_writer;
grant select (id, day_id, "order", language_code, description, video_id)
on hub_devotional to engagement_writer;
grant select (id, title) on learning_resources_video to engagement_writer;
grant select (id, app_label, model) on django_content_type to engagement_writer;
grant
select (id, code, is_active),
insert (
    code, name, description, category, is_active, track_in_analytics, requires_target, created_at,
    updated_at
)
on events_eventtype to engagement_writer;
grant
select (
    id, event_type_id, user_id, content_type_id, object_id, timestamp, title, description, data
),
insert (
    object_id, title, description, data, timestamp, user_agent, created_at, content_type_id,
    event_type_id, user_id, i18n
)
on events_event to engagement_writer;
grant
select (id, user_id, milestone_type, achieved_at, content_type_id, object_id, data),
insert (milestone_type, object_id, achieved_at, data, content_type_id, user_id)
on events_usermilestone to engagement_writer;
-- Nothing of anybody's feed can be read.
grant
insert (
    activity_type, object_id, title, description, is_read, read_at, created_at, data,
    content_type_id, event_id, user_id, i18n
)
on events_useractivityfeed to engagement_writer;
