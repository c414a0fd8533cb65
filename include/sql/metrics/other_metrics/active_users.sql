-- Grain: one row. Distinct users with activity in the period.
select count(*) as active_users from active_users
