-- abandon_blob: gives up an upload and dooms its bytes, unless a blob has them.
--
-- KEYS  1 base
-- ARGV  1 place   2 tenant   3 ms until the bytes are deleted
-- Returns  {abandoned}

end_upload(KEYS[1], ARGV[1])
if not redis.call('HGET', KEYS[1] .. 'blobs:refs', ARGV[1]) then
  doom(KEYS[1], ARGV[1], ARGV[2], now_ms() + ARGV[3])
end
return { 'abandoned' }
