-- Open a partition to which everything was moved. KEYS: its state. ARGV: who moved things, epoch, generation, whether a
-- store follows, how many partitions there are, who the server is, or nothing where it may have lost data.
-- The reply is 0 where somebody else moves things now.

if redis.call('HGET', KEYS[1], 'moving') ~= ARGV[1] then
  return redis.call('HGET', KEYS[1], 'moved_by') == ARGV[1] and 1 or 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'generation', ARGV[3], 'followed', ARGV[4], 'of', ARGV[5],
  'evictions', ARGV[2])
redis.call('HSET', KEYS[1], 'moved_by', ARGV[1])
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[1], 'server', ARGV[6])
end
return 1
