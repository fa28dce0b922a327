-- rights: finds the commands, keys and channels used by the queue that its Redis user may not use.
--
-- Redis checks a user's rights before it refuses a write in a script that may not write (`no-writes`,
-- scripts.rs). So every command is tried, and none has an effect. The script has no keys: it runs on any
-- node of a Cluster, also on a replica, and also when memory is full.
--
-- ARGV  the base of each partition
-- Returns  {command <name> | read <key> | write <key> | channel <name> …}; {} if nothing is missing

-- All commands that scripts and single calls use, with arguments that Redis accepts up to the check.
-- vetting.rs tries the others separately (SCRIPT LOAD, EVALSHA, SUBSCRIBE can't be tried in a script).
-- A test compares this list with the scripts and with the rule in docs/OPERATING.md.
local COMMANDS = {
  'DEL key', 'EXISTS key', 'EXPIRE key 1', 'GET key', 'HDEL key f', 'HGET key f', 'HGETALL key',
  'HINCRBY key f 1', 'HMGET key f', 'HSET key f v', 'HSETNX key f v', 'HSTRLEN key f', 'LLEN key',
  'LRANGE key 0 0', 'LTRIM key 0 0', 'PING', 'PUBLISH channel m', 'RPUSH key v', 'SADD key m',
  'SET key v', 'SISMEMBER key m', 'SMEMBERS key', 'SREM key m', 'TIME', 'TTL key', 'TYPE key',
  'XADD key * f v', 'XDEL key 0-1', 'XRANGE key - +', 'XREAD STREAMS key 0', 'XTRIM key MINID = 0-1', 'ZADD key 1 m',
  'ZCARD key', 'ZCOUNT key 0 0', 'ZPOPMIN key', 'ZRANGE key 0 0', 'ZRANGEBYSCORE key 0 0',
  'ZRANK key m', 'ZREM key m', 'ZSCORE key m',
}

-- Prefixes of keys, after the base. (docs/QUEUE.md lists them.)
local KEYS_USED = {
  'partitions', 'task:', 'events:', 'gone:', 'queue:', 'leases', 'models', 'stats:', 'backlog:', 'delayed',
  'expiring', 'totals', 'idem:', 'unlogged', 'unlogged:', 'dead', 'dead:', 'hooks', 'hook:', 'reaper', 'workers', 'seen',
  'heard', 'draining', 'blob:', 'blobs:', 'chunks:', 'batch:', 'batches:', 'meter:', 'usage:', 'key:', 'keys:',
  'tasks:', 'periodic', 'result:', 'results:',
}

-- Returns which right the user lacks for a call: `command`, `key` or `channel`; nil if none. Redis 7.0 says "can't
-- run this command", "can't access at least one of the keys"; 7.2 and Valkey "has no permissions to run the 'xadd'
-- command", "No permissions to access a key".
local function lacks(...)
  local answer = redis.pcall(...)
  local said = type(answer) == 'table' and answer.err or ''
  local function says(...)
    for _, words in ipairs({ ... }) do
      if string.find(said, words, 1, true) then return true end
    end
  end
  if says("executing the script can't run", 'no permissions to run') then return 'command' end
  if says('one of the channels', "access a channel", "' channel") then return 'channel' end
  if says('one of the keys', "access a key", "' key") then return 'key' end
  if says('NOPERM') then return 'command' end
  return nil
end

local missing, may = {}, {}
for _, line in ipairs(COMMANDS) do
  local call = {}
  for word in string.gmatch(line, '%S+') do
    if word == 'key' then word = ARGV[1] .. 'task:rights' end
    if word == 'channel' then word = ARGV[1] .. 'changed' end
    call[#call + 1] = word
  end
  may[call[1]] = lacks(unpack(call)) ~= 'command'
  if not may[call[1]] then missing[#missing + 1] = 'command ' .. string.lower(call[1]) end
end

-- A key or channel can only be tried with a command that is permitted.
for nth, base in ipairs(ARGV) do
  -- For a further partition one key suffices to check that its pattern is granted.
  for _, name in ipairs(nth == 1 and KEYS_USED or { 'task:' }) do
    local key = base .. name
    if may.HMGET and lacks('HMGET', key, 'f') then missing[#missing + 1] = 'read ' .. key end
    if may.HSET and lacks('HSET', key, 'f', 'v') then missing[#missing + 1] = 'write ' .. key end
  end
  for _, name in ipairs({ 'changed', 'cancel' }) do
    if may.PUBLISH and lacks('PUBLISH', base .. name, 'm') then
      missing[#missing + 1] = 'channel ' .. base .. name
    end
  end
end
return missing
