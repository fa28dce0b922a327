-- workers: returns the unexpired reports of workers.
--
-- KEYS  1 base   2 workers   3 seen   4 heard
-- Returns  {(report, ms at which it was received, or empty)…}

local ids = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. int(now_ms()), '+inf')
local reports = {}
for _, id in ipairs(ids) do
  local report = redis.call('HGET', KEYS[2], id)
  if report then
    append(reports, { report, redis.call('HGET', KEYS[4], id) or '' })
  end
end
return reports
