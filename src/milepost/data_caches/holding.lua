-- Whether records hold rows. KEYS: their hashes. ARGV: generation, how many there are. The reply has 1 or 0 for each.

local replies = {}
for n = 1, tonumber(ARGV[2]) do
  local key = KEYS[n]
  local found = redis.call('HMGET', key, 'm', 'c', 'f')
  local own = (found[1] and 1 or 0) + (found[2] and 1 or 0) + (found[3] and 1 or 0)
  replies[n] = redis.call('HLEN', key) > own and 1 or 0
end
return replies
