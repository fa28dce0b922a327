-- delete_blob: deletes a tenant's blob, and dooms its bytes.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 id
-- Returns  {deleted}   {missing}

local at = now_ms()
if not read_blob(KEYS[1], ARGV[1], ARGV[2], at) then return { 'missing' } end
drop_blob(KEYS[1], ARGV[2], at)
return { 'deleted' }
