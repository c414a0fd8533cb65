-- The role that the report reads the app's database as: `engagement_reader`, with no more rights
-- than its queries in `include/sql/extract` need. Run it as the database's owner, as often as you
-- like, then give the role a password: `alter role engagement_reader login password '...'`.
do $$
begin
    if not exists (select from pg_roles where rolname = 'engagement_reader') then
        create role engagement_reader login;
    end if;
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
grant select (id, code, category) on events_eventtype to engagement_reader;
grant select (id, event_type_id, user_id, content_type_id, object_id, timestamp, data)
on events_event to engagement_reader;
grant
select (
    id, user_id, activity_type, created_at, title, description, content_type_id, object_id
)
on events_useractivityfeed to engagement_reader;
