-- Grain: one row a fast whose ending is due in the lookback. Key: fast_id.
-- `found` counts the endings on or after its last day: a fast that was prolonged ends once more.
select
    ends.fast_id,
    ends.at,
    count(written_before.id) as found
from ends
left join written_before
    on
        ends.fast_id = written_before.fast_id
        and ends.last_day_start <= written_before.timestamp
group by ends.fast_id, ends.at
