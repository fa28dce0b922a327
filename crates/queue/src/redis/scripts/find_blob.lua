-- find_blob: returns a tenant's blob and the place of its bytes.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 id
-- Returns  {found, place, fields of BLOB…}   {missing}

local values, place = read_blob(KEYS[1], ARGV[1], ARGV[2], now_ms())
if not values then return { 'missing' } end
return append({ 'found', place }, values)
