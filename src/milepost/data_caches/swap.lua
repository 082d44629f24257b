-- Change a value that nobody else has changed. KEYS: a key. ARGV: what it has to be, what it becomes.
-- The reply is 1 where it is that now.

local value = redis.call('GET', KEYS[1])
if value == ARGV[2] then -- the reply to the first time was lost
  return 1
end
if value ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
