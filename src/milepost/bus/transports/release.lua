-- Move delayed events that are due into the stream, the earliest first.
--
-- KEYS: the keepers of the partitions; on a cluster then all others that are touched.
-- ARGV: generation, microseconds, or - for the server's own; how many events a partition keeps; until when they are
--     due; how many to move at most from each partition
--
-- The reply is { f, ... } or { g, ... } as in append.lua, or
--     { m, { due, text, ... }, { name, how many, ... } }   what was moved and is new, and consumers that lost events

local generation, size = ARGV[1], tonumber(ARGV[3])
local now = ARGV[2] == '-' and microseconds() or tonumber(ARGV[2])

local due = {}
for _, key in ipairs(KEYS) do
  local tag = tag_of(key)
  if key == tag .. 'K' then
    local present = redis.call('HGET', tag .. 'e', 'generation')
    if present and present ~= generation then
      return { 'g', present }
    end
    local found = redis.call('ZRANGEBYSCORE', tag .. 'y' .. generation, '-inf', ARGV[4], 'WITHSCORES', 'LIMIT', 0, ARGV[5])
    local stream = stream_of(tag, generation)
    local refused = #found > 0 and refusal(stream, #found / 2)
    if refused then
      return refused
    end
    for n = 1, #found, 2 do
      due[#due + 1] = { stream = stream, id = found[n], at = tonumber(found[n + 1]), text_of_due = found[n + 1] }
    end
  end
end
table.sort(due, function(one, other)
  return one.at < other.at or (one.at == other.at and one.id < other.id)
end)

local moved, touched = {}, {}
for n, delayed in ipairs(due) do
  local stream, id = delayed.stream, delayed.id
  local text = redis.call('HGET', stream.tag .. 'x' .. generation, id)
  redis.call('ZREM', stream.tag .. 'y' .. generation, id)
  redis.call('HDEL', stream.tag .. 'x' .. generation, id)
  if text and redis.call('HSETNX', stream.ids, id, NOBODY .. next_position(stream, now + n)) == 1 then
    append(stream, now + n, text, id)
    touched[stream.tag] = stream
    moved[#moved + 1] = delayed.text_of_due
    moved[#moved + 1] = text
  end
end
return { 'm', moved, keep_all(touched, size) }
