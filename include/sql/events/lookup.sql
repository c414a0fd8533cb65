-- Grain: one row, what the statements of a kind bind: ids depend on the database's history.
-- Reads through unique and primary keys.
select
    (
        select id from django_content_type where app_label = 'hub' and model = 'fast'
    ) as fast_content_type_id,
    (select id from events_eventtype where code = %(event_type)s) as event_type_id,
    (select is_active from events_eventtype where code = %(event_type)s) as is_active,
    (select id from events_eventtype where code = 'user_joined_fast') as join_type_id,
    (select id from events_eventtype where code = 'user_left_fast') as leave_type_id,
    array(
        select asked.id
        from unnest(%(fast_ids)s::bigint[]) as asked (id)
        where not exists (select from hub_fast where hub_fast.id = asked.id)
        order by asked.id
    ) as unknown_fast_ids
