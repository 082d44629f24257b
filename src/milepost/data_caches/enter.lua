-- Learn where partitions stand, and begin a new epoch where they are new or their server is another than before.
--
-- KEYS: the states of the partitions. ARGV: how many partitions there are, who the server is, an epoch to
-- begin, the generation to begin with where nothing is known.
-- The reply has for each partition { what, epoch, generation, partitions, followed }; what is one of
--     same, new, changed      changed: the server was restarted or replaced since, and may have lost data
--     other                   there is another number of partitions; nothing was done
--     late                    a new epoch is needed, and the one that was brought is not above the present one

local replies = {}
for n, key in ipairs(KEYS) do
  local state = redis.call('HMGET', key, 'epoch', 'generation', 'partitions', 'followed', 'server')
  local epoch, generation, partitions, followed, server = unpack(state)
  local what = 'same'
  if not epoch then
    what, epoch, generation, partitions, followed = 'new', ARGV[3], ARGV[4], ARGV[1], '0'
    redis.call('HSET', key, 'epoch', epoch, 'generation', generation, 'partitions', partitions)
    redis.call('HSET', key, 'followed', followed, 'server', ARGV[2])
  elseif partitions ~= ARGV[1] then
    what = 'other'
  elseif server ~= ARGV[2] then
    what = 'late'
    if above(ARGV[3], epoch) then
      what, epoch = 'changed', ARGV[3]
      redis.call('HSET', key, 'epoch', epoch, 'server', ARGV[2])
    end
  end
  replies[n] = { what, epoch, generation, partitions, followed }
end
return replies
