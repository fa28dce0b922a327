-- result_cache_size: drops expired results, and returns the size of the others.
--
-- KEYS  1 base
-- Returns  {number, bytes}

drop_expired(KEYS[1], now_ms(), 1000)
return { int(redis.call('ZCARD', KEYS[1] .. 'results:expiring')), int(results_total(KEYS[1])) }
