-- Mark records as unsaved that were here before a store followed. KEYS: their hashes. ARGV: generation, how many
-- there are.

local replies = {}
for n = 1, tonumber(ARGV[2]) do
  local key = KEYS[n]
  local tag = tag_of(key)
  local numbers = redis.call('HGET', key, 'm')
  replies[n] = 0
  if numbers and partition(tag).generation == ARGV[1] then
    local counter, saved = match(numbers, '^%d+%.(%d+) %S+ %S+ (%S+)')
    if counter ~= saved then
      redis.call('PERSIST', key)
      replies[n] = redis.call('ZADD', tag .. 'u' .. ARGV[1], 'NX', 0, sub(key, #tag + #ARGV[1] + 3))
    end
  end
end
return replies
