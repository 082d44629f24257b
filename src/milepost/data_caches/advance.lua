-- Raise partitions to an epoch and a generation; those that are there or beyond stay where they are.
-- KEYS: the states of the partitions. ARGV: epoch, generation. The reply has { epoch, generation } for each.

local replies = {}
for n, key in ipairs(KEYS) do
  local state = redis.call('HMGET', key, 'epoch', 'generation')
  local epoch, generation = state[1], state[2]
  if epoch and above(ARGV[1], epoch) then
    epoch = ARGV[1]
    redis.call('HSET', key, 'epoch', epoch)
  end
  if epoch and above(ARGV[2], generation) then
    generation = ARGV[2]
    redis.call('HSET', key, 'generation', generation)
  end
  replies[n] = { epoch, generation }
end
return replies
