-- Grain: one row, the user where there is one. Key: id.
-- Reads through the primary key.
select id
from auth_user
where id = %(user_id)s
