-- Grain: one row a fast that is not weekly and whose ending is due in the lookback. Key: fast_id.
-- Its members as of its end are who may have completed their first one.
select
    ends.fast_id,
    ends.at,
    0 as found
from ends
inner join fasts on ends.fast_id = fasts.fast_id
where not fasts.is_weekly
