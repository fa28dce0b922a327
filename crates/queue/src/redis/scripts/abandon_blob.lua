-- abandon_blob: gives up an upload and dooms its bytes.
--
-- KEYS  1 base
-- ARGV  1 place   2 ms until the bytes are deleted
-- Returns  {abandoned}   {missing}

local was, tenant = end_upload(KEYS[1], ARGV[1])
if not was then return { 'missing' } end
doom(KEYS[1], ARGV[1], tenant, now_ms() + ARGV[2])
return { 'abandoned' }
