-- End a doubt: every record that was here has been compared with the store. KEYS: the states of partitions. ARGV:
-- generation, whether to end it or to ask only (1 or 0), for each partition the number of the doubt. The reply has for
-- each 1 where that doubt is over.

local replies = {}
for n, key in ipairs(KEYS) do
  local tag = tag_of(key)
  local place = partition(tag)
  if place.doubt == ARGV[n + 2] and ARGV[2] == '1' and not is_healing(place) then
    redis.call('HDEL', key, 'healing')
    redis.call('UNLINK', tag .. 'k' .. ARGV[1])
    place.doubt = nil
  end
  replies[n] = place.doubt == ARGV[n + 2] and 0 or 1
end
return replies
