-- Functions that the metric queries and the rendering share, in DuckDB's words.

-- The exact quotient of two counts to two decimals, halves away from zero; 0.0 without denominator.
create macro rounded(numerator, denominator) as
case
    when denominator = 0 then 0.0::double
    else floor((200 * numerator + denominator) / (2 * denominator)) / 100
end;

-- An instant as RFC 3339 in UTC: to the second, or with six digits where it has a fraction.
create macro rfc3339(instant) as
case
    when epoch_us(instant) % 1000000 = 0
        then strftime(make_timestamp(epoch_us(instant)), '%Y-%m-%dT%H:%M:%SZ')
    else strftime(make_timestamp(epoch_us(instant)), '%Y-%m-%dT%H:%M:%S.%fZ')
end;

-- A text that no spreadsheet runs as a formula.
create macro formula_safe(cell) as
case
    when left(cell, 1) in ('=', '+', '-', '@', chr(9), chr(13)) then '''' || cell
    else cell
end;
