-- Take records that the store has not seen, so that nobody else takes them for a while.
--
-- KEYS: the state of a partition, its unsaved records. ARGV: generation, how many at most, for how many
-- milliseconds they are taken. The reply has the keys of those that were free; the score of a record is
-- the moment from which on it is.

local place = partition(tag_of(KEYS[1]))
if not place.epoch or place.generation ~= ARGV[1] then
  return {}
end
local now = milliseconds()
local names = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[2])
local until_when = string.format('%.0f', now + ARGV[3])
for _, name in ipairs(names) do
  redis.call('ZADD', KEYS[2], until_when, name)
end
return names
