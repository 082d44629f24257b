-- Raise partitions to an epoch and a generation; those that are there or beyond stay where they are.
-- KEYS: the states of the partitions. ARGV: epoch, generation, how many partitions there are. The reply has
-- { epoch, generation } for each; { moved, of } where its records have gone elsewhere, into so many others.

local replies = {}
for n, key in ipairs(KEYS) do
  local state = redis.call('HMGET', key, 'epoch', 'generation', 'of')
  local epoch, generation, of = state[1], state[2], state[3]
  if of and of ~= ARGV[3] then
    replies[n] = { 'moved', of }
  else
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
end
return replies
