-- Grain: one row a number of gaps between a user's checklist uses in the period. Key: gaps.
-- A user's average gap is the span from the first to the last use over the number of gaps; users
-- with the same number of gaps are added up here, so that the mean stays an exact quotient.
with uses as (
    select
        events.user_id,
        count(*) - 1 as gaps,
        epoch_us(max(events.timestamp)) - epoch_us(min(events.timestamp)) as span_us
    from events
    inner join event_types on events.event_type_id = event_types.id
    where event_types.code = 'checklist_used' and events.user_id is not null
    group by events.user_id
)

select
    gaps,
    count(*) as users,
    sum(span_us) as span_us
from uses
where gaps > 0
group by gaps
order by gaps
