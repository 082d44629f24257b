-- What a durable consumer has in partitions: declared, owned for a while, acknowledged, given up.
--
-- KEYS: the keepers of the partitions; on a cluster then all others that are touched.
-- ARGV: what to do, epoch seconds, or - for the server's own; generation, the consumer's name, how many KEYS are
--     keepers, and further arguments as below. The reply has an item for each partition.

local what, generation, name, number = ARGV[1], ARGV[3], ARGV[4], tonumber(ARGV[5])
local now = ARGV[2] == '-' and microseconds() / 1000000 or tonumber(ARGV[2])

local function free(consumer)
  return consumer.owner == '-' or tonumber(consumer.ends) <= now
end

local actions = {}

-- largest lag or -, l or r, 1 to begin with the next event and 0 with the first that is kept. Nothing.
function actions.declare(tag, consumer)
  local most = tonumber(ARGV[6])
  if not consumer then
    local stream = stream_of(tag, generation)
    local begin = stream.n
    if ARGV[8] == '0' then
      begin = stream.n - redis.call('XLEN', stream.name)
    end
    consumer = { position = '0-' .. text_of(begin), token = '0', ends = '0', lapsed = 0, owner = '-' }
  end
  consumer.most, consumer.mode = most, ARGV[7]
  put_consumer(tag, name, consumer)
  if consumer.mode == 'r' and most then
    redis.call('HSET', tag .. 'K', 'full', '0')
  end
  return 0
end

-- Whether it was known.
function actions.forget(tag, consumer)
  return redis.call('HDEL', tag .. 'W', name)
end

-- Nothing more. 1 where somebody may take it, 0 where not, -1 where the consumer is not known.
function actions.look(tag, consumer)
  return consumer and (free(consumer) and 1 or 0) or -1
end

-- owner, for how many seconds. { token, position }, or 0 where somebody has it.
function actions.claim(tag, consumer)
  if not consumer or not free(consumer) then
    return 0
  end
  consumer.token = text_of(math.max(tonumber(consumer.token) + 1, microseconds()))
  consumer.owner, consumer.ends = ARGV[6], string.format('%.6f', now + ARGV[7])
  put_consumer(tag, name, consumer)
  return { consumer.token, consumer.position }
end

-- for how many seconds, then a token for each. 1 where it is still the owner's.
function actions.renew(tag, consumer, n)
  if not consumer or consumer.token ~= ARGV[6 + n] then
    return 0
  end
  consumer.ends = string.format('%.6f', now + ARGV[6])
  put_consumer(tag, name, consumer)
  return 1
end

-- a token and a position for each. 1 where that was noted, 0 where it has another owner.
function actions.acknowledge(tag, consumer, n)
  local token, position = ARGV[4 + 2 * n], ARGV[5 + 2 * n]
  if not consumer or consumer.token ~= token then
    return 0
  end
  if number_in(position) > consumer.n then
    consumer.position = position
    put_consumer(tag, name, consumer)
  end
  return 1
end

-- a token for each. Nothing.
function actions.release(tag, consumer, n)
  if consumer and consumer.token == ARGV[5 + n] then
    consumer.owner = '-'
    put_consumer(tag, name, consumer)
  end
  return 0
end

local replies = {}
for n = 1, number do
  local tag = tag_of(KEYS[n])
  local known = redis.call('HGET', tag .. 'W', name)
  replies[n] = actions[what](tag, known and consumer_in(known), n)
end
return replies
