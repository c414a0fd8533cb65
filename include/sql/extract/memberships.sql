-- Grain: one row a (user, fast) that the membership table holds. Key: id; (user_id, fast_id).
-- Reads the whole table: membership is state, and every member of every fast is counted.
select
    member.id,
    profile.user_id,
    member.fast_id
from hub_profile_fasts as member
inner join hub_profile as profile on member.profile_id = profile.id
