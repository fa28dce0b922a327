-- readings: returns the levels of limits without charging them.
--
-- KEYS  1 base
-- ARGV  1 owner   2 charge (lib/meters.lua)
-- Returns  {now ms and the levels, separated by spaces}

local base, at = KEYS[1], now_ms()

return { int(at) .. levels_of(charge_of(base, ARGV[1], ARGV[2], at)) }
