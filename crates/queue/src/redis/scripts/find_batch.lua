-- find_batch: returns a tenant's batch.
--
-- KEYS  1 base
-- ARGV  1 tenant   2 id
-- Returns  {now ms, record, rev}   {now ms}

return append({ int(now_ms()) }, read_batch(KEYS[1], ARGV[1], ARGV[2]) or {})
