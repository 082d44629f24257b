-- Look through a part of a stream for events whose text has a word in it.
-- KEYS: the keeper of the partition; on a cluster then all others that are touched.
-- ARGV: generation, the position after which to begin or -, how many to look at, the word.
-- The reply is { the last position that was looked at, or nothing at the end; position, text, ... }

local tag = tag_of(KEYS[1])
local entries = redis.call('XRANGE', tag .. 'o' .. ARGV[1], ARGV[2], '+', 'COUNT', ARGV[3])
local found = { #entries > 0 and entries[#entries][1] or '' }
for _, entry in ipairs(entries) do
  if find(entry[2][2], ARGV[4], 1, true) then
    found[#found + 1] = entry[1]
    found[#found + 1] = entry[2][2]
  end
end
return found
