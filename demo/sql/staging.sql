-- What the other steps draw from; dropped when the data is there.
create schema demo;

-- How many users register, events happen and activities appear in an hour; `users` is how many
-- users there were when it began.
create unlogged table demo.hours (
    kind text, hour timestamptz, first bigint, rows integer, users integer
);

-- Lists of 64 things to choose from.
create unlogged table demo.slots (list text, slot integer, name text, detail text);

create unlogged table demo.event_kinds (
    slot integer, code text, title text, model text, has_user boolean, event_type_id bigint,
    content_type_id integer
);

create unlogged table demo.activity_kinds (
    slot integer, activity_type text, title text, description text, model text,
    content_type_id integer
);

create unlogged table demo.fasts (
    fast_id integer, name text, label text, church_id integer, church_name text,
    share double precision, join_from timestamptz, join_until timestamptz
);

-- For every day the fasts and devotionals that are nearest to it.
create unlogged table demo.fast_slots (
    day date, slot integer, fast_id integer, name text, label text
);

create unlogged table demo.devotional_slots (
    day date, slot integer, devotional_id integer, devotional_date date, fast_id integer, title text
);

-- Events that have their place in the calendar.
create unlogged table demo.calendar (
    at timestamptz, n bigint, code text, model text, object_id integer, title text,
    description text, data jsonb
);
