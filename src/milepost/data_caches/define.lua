-- Keep definitions; known ones stay as they are. KEYS: the states of partitions. ARGV: generation, then hashes
-- and texts. The reply has for each partition whether it is of that generation.

local replies = {}
for n, key in ipairs(KEYS) do
  local tag = tag_of(key)
  local place = partition(tag)
  replies[n] = place.epoch and place.generation == ARGV[1] and 1 or 0
  if replies[n] == 1 then
    for at = 2, #ARGV, 2 do
      redis.call('HSETNX', tag .. 'd' .. ARGV[1], ARGV[at], ARGV[at + 1])
    end
  end
end
return replies
