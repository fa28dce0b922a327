-- logged: acknowledges that the log lines of these tasks are written.
--
-- KEYS  1 base
-- ARGV  ids…
-- Returns  {noted}

note_logged(KEYS[1], ARGV)
return { 'noted' }
