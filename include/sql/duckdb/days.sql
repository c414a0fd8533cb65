-- Grain: one row a day of the period. Key: date.
-- The day and the half-open interval of instants that it spans in the report time zone.
select
    unnest($dates) as date,
    unnest($starts) as start_instant,
    unnest($ends) as end_instant
