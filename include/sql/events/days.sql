-- Grain: one row a day that began in the lookback. Key: date.
-- When a day begins is told by the report time zone, whose rules the code knows.
select
    date,
    start,
    previous_start
from
    unnest(
        %(dates)s::date[], %(starts)s::timestamptz[], %(previous_starts)s::timestamptz[]
    ) as days (date, start, previous_start)
