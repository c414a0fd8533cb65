-- Grain: one row a week from that of the first registration to that of the period's end. Key:
-- start_date, its Monday.
-- The week and the half-open interval of instants that it spans in the report time zone.
select
    unnest($mondays) as start_date,
    unnest($starts) as start_instant,
    unnest($ends) as end_instant
