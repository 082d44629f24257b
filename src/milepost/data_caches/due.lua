-- Records that are due. KEYS: the states of partitions. ARGV: generation, until when, how many at most.
-- The reply has for each partition { key, deadline, ... }, the earliest first.

local replies = {}
for n, key in ipairs(KEYS) do
  local index = tag_of(key) .. 't' .. ARGV[1]
  replies[n] = redis.call('ZRANGEBYSCORE', index, '-inf', ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
end
return replies
