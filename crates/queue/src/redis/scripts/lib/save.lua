-- Writes everything that a script has collected (lib/task.lua) and counted (lib/counters.lua), at once.

local function save_counters(base)
  for model, counted in pairs(counted_models) do
    local fields = {}
    for name, value in pairs(counted.changes) do
      fields[#fields + 1] = name
      fields[#fields + 1] = type(value) == 'number' and int(value) or value
    end
    if counted.average then
      append(fields, { 'service_ms', string.format('%.3f', counted.average),
        'service_dev', string.format('%.3f', counted.deviation) })
    end
    for _, name in ipairs(LANES) do
      local lane = counted[name]
      if lane.changed then
        fields[#fields + 1] = 'lane:' .. name
        fields[#fields + 1] = string.format('%d %d %d %d %d %s', lane.queued, lane.tenants,
          lane.entered, lane.left, lane.joined, lane.last)
      end
    end
    if #fields > 0 then redis.call('HSET', stats_key(base, model), unpack(fields)) end
  end
end

-- Zeros are deleted, or tenants that come and go would fill the memory.
local function save_totals(base)
  local fields, gone = {}, {}
  local function note(name, value, was)
    if value > 0 and value ~= was then
      fields[#fields + 1] = name
      fields[#fields + 1] = int(value)
    elseif value <= 0 and was ~= 0 then
      gone[#gone + 1] = name
    end
  end
  for tenant, held in pairs(totals.tenants) do note('tenant:' .. tenant, held.count, held.was) end
  for name, queue in pairs(queues) do
    if queue.share then note('share:' .. name, queue.share, queue.share_was) end
  end
  if totals.changed then append(fields, { 'bytes', int(totals.bytes) }) end
  if #fields > 0 then redis.call('HSET', base .. 'totals', unpack(fields)) end
  if #gone > 0 then redis.call('HDEL', base .. 'totals', unpack(gone)) end
end

-- Every script that changes tasks ends with this.
local function save(base)
  refill(base)
  arrive()
  if #owed > 0 then redis.call('ZADD', base .. 'unlogged', unpack(owed)) end
  if #owed_texts > 0 then redis.call('HSET', base .. 'unlogged:texts', unpack(owed_texts)) end
  for key, gone in pairs(forgotten) do
    redis.call('HSET', key, unpack(gone))
    if redis.call('EXPIRE', key, int(gone.ttl), 'GT') == 0 and redis.call('TTL', key) == -1 then
      redis.call('EXPIRE', key, int(gone.ttl)) -- it is new: for Redis it would have lived for ever
    end
  end
  if #freed > 0 then redis.call('ZREM', base .. 'leases', unpack(freed)) end
  if #leased > 0 then redis.call('ZADD', base .. 'leases', unpack(leased)) end
  save_counters(base)
  save_totals(base)
  for _, step in ipairs(saved) do step(base) end
  -- Last, and by pcall, since it is only a hint: everything is written, and a reader that misses it polls.
  if #woken > 0 then redis.pcall('PUBLISH', base .. 'changed', table.concat(woken, ' ')) end
end

