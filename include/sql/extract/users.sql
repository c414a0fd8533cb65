-- Grain: one row a user. Key: id.
-- Every user: names are those of the snapshot. Reads the whole table: auth_user.date_joined has no
-- index, and the cohorts need every registration.
select
    id,
    username,
    email,
    date_joined
from auth_user
