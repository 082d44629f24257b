-- The outbox as a stream with a keeper; put before the scripts that append to it. How it lies in Redis:
--
-- {tag}o<generation>   the stream. An entry is at "<microseconds>-<number>"; numbers count up by one, without a gap.
--                      It has e, the event's JSON, and i, its id, where it was published and not committed
-- {tag}i<generation>   a hash: of ids that were published, 8 bytes of whoever did that and then the position
-- {tag}K               a hash, the keeper:
--     at, n    the last position
--     look     from which number on to look what may be trimmed
--     full     up to which number may be appended; there only where a consumer refuses to lapse. It may be too low,
--              because consumers have come on since
-- {tag}W               a hash: of durable consumers
--                      "<position> <token> <seconds> <largest lag or -> <l or r> <how many were lost> <owner or ->":
--                      its owner has the partition until then, l lapses, r refuses
--
-- A consumer's lag is what is above its position's number, so nobody has to count. Numbers stay below 2^53.

local TRIMMED = 1000    -- how many entries go at once, so that nobody waits for long
local SLACK = 10        -- a tenth more than what is kept may be there; a tenth of the largest lag is lost at once
local NOBODY = string.rep('\0', 8) -- stands for no call of the bus, where it says who published an id

local function text_of(number)
  return string.format('%.0f', number)
end

local clock = nil

local function microseconds()
  if not clock then
    local time = redis.call('TIME')
    clock = time[1] * 1000000 + time[2]
  end
  return clock
end

local function number_in(position)
  return tonumber(match(position, '%d+$'))
end

local streams = {}

local function stream_of(tag, generation)
  local stream = streams[tag]
  if stream then
    return stream
  end
  local found = redis.call('HMGET', tag .. 'K', 'at', 'n', 'look', 'full')
  stream = { tag = tag, name = tag .. 'o' .. generation, ids = tag .. 'i' .. generation }
  stream.at, stream.n, stream.look = tonumber(found[1] or 0), tonumber(found[2] or 0), tonumber(found[3] or 0)
  stream.full = found[4] and tonumber(found[4])
  if not found[2] then
    local last = redis.call('XREVRANGE', stream.name, '+', '-', 'COUNT', 1)
    if last[1] then
      local at, n = match(last[1][1], '^(%d+)-(%d+)$')
      stream.at, stream.n = tonumber(at), tonumber(n)
    end
  end
  streams[tag] = stream
  return stream
end

local function consumer_in(text)
  local position, token, ends, most, mode, lapsed, owner =
    match(text, '^(%S+) (%d+) (%S+) (%S+) (%l) (%d+) (.*)$')
  return { position = position, token = token, ends = ends, most = tonumber(most), mode = mode,
    lapsed = tonumber(lapsed), owner = owner, n = number_in(position) }
end

local function put_consumer(tag, name, consumer)
  redis.call('HSET', tag .. 'W', name, table.concat({
    consumer.position, consumer.token, consumer.ends, consumer.most and text_of(consumer.most) or '-', consumer.mode,
    text_of(consumer.lapsed), consumer.owner }, ' '))
end

local function consumers_of(tag)
  local consumers, found = {}, redis.call('HGETALL', tag .. 'W')
  for n = 1, #found, 2 do
    consumers[found[n]] = consumer_in(found[n + 1])
  end
  return consumers
end

-- What is replied instead of appending some more, where a consumer that refuses to lapse is too far behind.
local function refusal(stream, more)
  if not stream.full or stream.n + more <= stream.full then
    return nil
  end
  local full, behind = nil, nil
  for name, consumer in pairs(consumers_of(stream.tag)) do
    if consumer.mode == 'r' and consumer.most and (not full or consumer.n + consumer.most < full) then
      full, behind = consumer.n + consumer.most, name
      behind = { 'f', name, stream.n - consumer.n, consumer.most }
    end
  end
  stream.full = full
  if full then
    redis.call('HSET', stream.tag .. 'K', 'full', text_of(full))
  else
    redis.call('HDEL', stream.tag .. 'K', 'full')
  end
  return full and stream.n + more > full and behind or nil
end

local function next_position(stream, moment)
  return text_of(math.max(stream.at, moment)) .. '-' .. text_of(stream.n + 1)
end

local function append(stream, moment, text, id)
  local position = next_position(stream, moment)
  if id then
    redis.call('XADD', stream.name, position, 'e', text, 'i', id)
  else
    redis.call('XADD', stream.name, position, 'e', text)
  end
  stream.at, stream.n = math.max(stream.at, moment), stream.n + 1
end

-- Drop the oldest entries, and their ids.
local function drop(stream, number)
  local ids = {}
  for _, entry in ipairs(redis.call('XRANGE', stream.name, '-', '+', 'COUNT', number)) do
    ids[#ids + 1] = entry[2][4]
  end
  if #ids > 0 then
    redis.call('HDEL', stream.ids, unpack(ids))
  end
end

-- Trim behind the slowest consumer; one that is further behind than it may be lapses. Return { name, how many, ... }.
local function trim(stream, size)
  local lapses = {}
  local length = redis.call('XLEN', stream.name)
  stream.look = stream.n + math.max(1, math.floor(size / SLACK))
  if length > size then
    local consumers, behind = consumers_of(stream.tag), stream.n - size
    for _, consumer in pairs(consumers) do
      local passed = consumer.n
      if consumer.mode == 'l' and consumer.most and stream.n - passed > consumer.most then
        passed = stream.n - consumer.most + math.floor(consumer.most / SLACK)
      end
      behind = math.min(behind, passed)
    end
    local surplus = math.min(length - (stream.n - behind), TRIMMED)
    if surplus > 0 then
      drop(stream, surplus)
      redis.call('XTRIM', stream.name, 'MAXLEN', length - surplus)
      if surplus == TRIMMED then
        stream.look = stream.n + 1
      end
      behind = stream.n - (length - surplus)
      for name, consumer in pairs(consumers) do
        if consumer.n < behind then
          consumer.lapsed = consumer.lapsed + behind - consumer.n
          lapses[#lapses + 1] = name
          lapses[#lapses + 1] = behind - consumer.n
          consumer.position = '0-' .. text_of(behind)
          put_consumer(stream.tag, name, consumer)
        end
      end
    end
  end
  return lapses
end

-- Note what was appended, wake whoever waits for it, and make room; return who lapsed.
local function keep(stream, size)
  local lapses = stream.n >= stream.look and trim(stream, size) or {}
  redis.call('HSET', stream.tag .. 'K', 'at', text_of(stream.at), 'n', text_of(stream.n), 'look', text_of(stream.look))
  return lapses
end

-- Wake whoever waits for events. Not to be allowed to is no reason to fail: they look from time to time.
local function wake(tag)
  redis.pcall('PUBLISH', match(tag, '^{(.*):%d+%.%d+}$') .. ':news', 'events')
end

-- Do both for all streams that were appended to, by their tags. Return who lapsed.
local function keep_all(touched, size)
  local lapses = {}
  for _, stream in pairs(touched) do
    for _, item in ipairs(keep(stream, size)) do
      lapses[#lapses + 1] = item
    end
  end
  local tag = next(touched)
  if tag then
    wake(tag)
  end
  return lapses
end
