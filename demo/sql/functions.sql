-- Pseudo-random numbers that depend on nothing but a row's number, a salt and the seed.
create function pg_temp.rnd(n bigint, salt integer) returns double precision
language sql immutable
return (hashint8extended(n, %(seed)s::bigint * 1000 + salt) & 4503599627370495)
    / 4503599627370496::double precision;

-- The nth user by registration; ids have gaps where accounts were deleted.
create function pg_temp.user_id(n bigint) returns integer
language sql immutable
return (n + n / 61)::integer;

-- Who of the first `users` users does something: often a new one or one of the few devoted ones,
-- and the older the account, the fewer are still there.
create function pg_temp.pick_user(n bigint, users integer) returns integer
language sql immutable
return pg_temp.user_id(
    case
        when pg_temp.rnd(n, 1) < 0.3
            then 1 + 8 * floor(pow(pg_temp.rnd(n, 2), 1.5) * ((users + 7) / 8))::bigint
        when pg_temp.rnd(n, 2) < 0.3
            then users - floor(pow(pg_temp.rnd(n, 2), 2) * users)::bigint
        else
            4 * ((users - floor(pow(pg_temp.rnd(n, 2), 2) * users)::bigint - 1) / 4) + 1
    end
);
