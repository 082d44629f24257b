-- Append events: all of them, or none. One whose id is in the stream already is left out.
--
-- KEYS: the keepers of the partitions; on a cluster then all others that are touched.
-- ARGV: generation, microseconds, or - for the server's own; how many events a partition keeps; 8 bytes that stand for
--     this call, also when it is sent again; how many events there are; then for each
--     which of the keepers is its partition's, how many were published before it in the same moment, id, text
--
-- The reply is one of
--     { flags, name, how many, ... }   1 or 0 for each event, whether it is new; consumers that lost events
--     { f, name, lag, largest lag }    nothing was appended: that consumer refuses to lapse
--     { g, generation }                nothing was appended: the generation is another one

local generation, size, who, number = ARGV[1], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local more = {}
for n = 6, 5 + 4 * number, 4 do
  more[ARGV[n]] = (more[ARGV[n]] or 0) + 1
end
for key, appended in pairs(more) do
  local tag = tag_of(KEYS[tonumber(key)])
  local present = redis.call('HGET', tag .. 'e', 'generation')
  if present and present ~= generation then
    return { 'g', present }
  end
  local refused = refusal(stream_of(tag, generation), appended)
  if refused then
    return refused
  end
end

local now = ARGV[2] == '-' and microseconds() or tonumber(ARGV[2])
local flags, met, touched = {}, {}, {}
for n = 6, 5 + 4 * number, 4 do
  local stream = stream_of(tag_of(KEYS[tonumber(ARGV[n])]), generation)
  local moment, id = now + ARGV[n + 1], ARGV[n + 2]
  if redis.call('HSETNX', stream.ids, id, who .. next_position(stream, moment)) == 1 then
    append(stream, moment, ARGV[n + 3], id)
    touched[stream.tag] = stream
    flags[#flags + 1] = '1'
  else
    local first = not met[id] and sub(redis.call('HGET', stream.ids, id), 1, 8) == who
    flags[#flags + 1] = first and '1' or '0' -- it was appended when this call was sent before
  end
  met[id] = true
end
return { table.concat(flags), unpack(keep_all(touched, size)) }
