-- Managed keys. All of them are in the first partition.
--   key:<id>         hash: `hash` of the key's text in hexadecimal, and the fields of KEY
--   keys:hashes      hash: hash of the text -> id
--   keys:all         zset: all keys; all have score 0, so they sort by id, which is by time
--   keys:of:<owner>  zset: the same for an owner
--   keys:version     text: a number that every change increments
--   keys:secrets     hash: the secret of each owner in hexadecimal; they outlive the keys

-- `record` is versioned JSON; `used` is missing before the first use, and empty in replies.
local KEY = { 'record', 'owner', 'revision', 'created', 'used' }

local function key_of(base, id) return base .. 'key:' .. id end

-- Returns the fields of KEY; nil if there is no such key.
local function read_key(base, id)
  local values = redis.call('HMGET', key_of(base, id), unpack(KEY))
  if not values[1] then return nil end
  values[#KEY] = values[#KEY] or ''
  return values
end

-- Tells readers that a key changed.
local function count_change(base)
  redis.call('SET', base .. 'keys:version', int((redis.call('GET', base .. 'keys:version') or 0) + 1))
end

