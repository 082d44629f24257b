-- Close partitions whose records go elsewhere: no script finds its generation there any more.
-- KEYS: the states of the partitions. ARGV: what they are marked with.
-- The reply has { epoch, generation, followed, server, healing } for each, as it was before.

local replies = {}
for n, key in ipairs(KEYS) do
  local state = redis.call('HMGET', key, 'epoch', 'generation', 'followed', 'server', 'healing', 'was')
  local generation = state[2]
  if generation and generation ~= '-' then
    redis.call('HSET', key, 'was', generation)
  else
    generation = state[6]
  end
  redis.call('HSET', key, 'of', ARGV[1], 'generation', '-')
  replies[n] = { state[1], generation, state[3], state[4], state[5] }
end
return replies
