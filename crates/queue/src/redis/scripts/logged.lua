-- logged: these tasks have their log lines.
--
-- KEYS  1 base
-- ARGV  ids…
-- Returns  {noted}

note_logged(KEYS[1], ARGV)
return { 'noted' }
