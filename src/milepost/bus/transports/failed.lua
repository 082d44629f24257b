-- Jobs that failed. How they lie in Redis, beside what belongs to no partition:
--
-- {tag}F        a sorted set: ids of jobs, by when they failed
-- {tag}R        a sorted set: ids of those that are to be run again, by until when somebody does that; 0 for nobody
-- {tag}J:<id>   a hash: handler, and job, which is the rest as JSON
--
-- KEYS: F and R, then the jobs that are named. ARGV: what to do, epoch seconds, or - for the server's own, and further
-- arguments as below.

local failed, again = KEYS[1], KEYS[2]
local tag = tag_of(failed)
local now = ARGV[2]
if now == '-' then
  local time = redis.call('TIME')
  now = time[1] .. '.' .. string.format('%06d', tonumber(time[2]))
end

local actions = {}

-- id, when it failed, handler, the rest. Nothing.
function actions.put()
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[3], 'handler', ARGV[5], 'job', ARGV[6])
  redis.call('ZADD', failed, ARGV[4], ARGV[3])
  redis.call('ZREM', again, ARGV[3])
  return 0
end

-- from which to which, by when they failed. { id, handler, the rest, whether it is to be run again, ... }
function actions.list()
  local jobs = {}
  for _, id in ipairs(redis.call('ZRANGE', failed, ARGV[3], ARGV[4])) do
    local found = redis.call('HMGET', tag .. 'J:' .. id, 'handler', 'job')
    if found[2] then
      local retrying = redis.call('ZSCORE', again, id) and 1 or 0
      for _, item in ipairs({ id, found[1], found[2], retrying }) do
        jobs[#jobs + 1] = item
      end
    end
  end
  return jobs
end

-- ids. How many of them there are; those that nobody runs will be run.
function actions.ask()
  local known = 0
  for n = 3, #ARGV do
    if redis.call('EXISTS', tag .. 'J:' .. ARGV[n]) == 1 then
      known = known + 1
      redis.call('ZADD', again, 'NX', 0, ARGV[n])
    end
  end
  return known
end

-- for how many seconds they are taken, handlers. As list.
function actions.take()
  local wanted, jobs = {}, {}
  for n = 4, #ARGV do
    wanted[ARGV[n]] = true
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', again, '-inf', now)) do
    local found = redis.call('HMGET', tag .. 'J:' .. id, 'handler', 'job')
    if not found[2] then
      redis.call('ZREM', again, id)
    elseif wanted[found[1]] then
      redis.call('ZADD', again, string.format('%.6f', now + ARGV[3]), id)
      for _, item in ipairs({ id, found[1], found[2], 1 }) do
        jobs[#jobs + 1] = item
      end
    end
  end
  return jobs
end

-- for how many seconds, ids. Nothing.
function actions.keep()
  for n = 4, #ARGV do
    if tonumber(redis.call('ZSCORE', again, ARGV[n]) or 0) > 0 then
      redis.call('ZADD', again, string.format('%.6f', now + ARGV[3]), ARGV[n])
    end
  end
  return 0
end

-- ids. How many there were.
function actions.remove()
  local removed = 0
  for n = 3, #ARGV do
    removed = removed + redis.call('DEL', tag .. 'J:' .. ARGV[n])
    redis.call('ZREM', failed, ARGV[n])
    redis.call('ZREM', again, ARGV[n])
  end
  return removed
end

return actions[ARGV[1]]()
