-- What all transitions share; put in front of each of them.
--
-- KEYS  1 bus (hash), 2 instances (hash), 3 leases (sorted set), 4 ended (sorted set),
--       5 events (stream), 6 usage (hash), 7 handlers (hash)
--
-- A script does not roll back, so `check` runs first: it returns an error before anything is
-- written where a key holds another type, a permission or a command is missing, or the server takes no
-- writes.
-- `emit` publishes before it writes, because a refused PUBLISH is the last thing that can fail.
-- Nothing here decodes JSON: records are spliced, so what an announcer wrote stays to the byte.

local bus, instances, leases, ended, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local usage = KEYS[6]
local KEEP_KEYS = 604800        -- s; every key lives a week after the last transition
local KEEP_ENDED = 3600000      -- ms; how long those that ended can be listed
local MOST_BYTES = 8192         -- of one event
local PLAIN_WORDS = { start = 'start', back = 'start', stop = 'stop', lost = 'stop' }

-- What is refused for want of permission or since the server has no such command (rename-command), which
-- Redis and Valkey say in different words, Redis without naming the command.
local function named(message, command)
  local words = string.lower(message)
  if string.find(words, 'unknown') and string.find(words, 'command') then
    return 'NOCOMMAND ' .. command
  end
  local refused = string.find(words, 'noperm') or string.find(words, 'no permissions')
    or string.find(words, "executing the script can't")
  if not refused then return message end
  local what = ''
  if string.find(words, ' keys? ') or string.find(words, ' key$') then
    what = ' a key of paasbus:*'
  elseif string.find(words, 'channel') then
    what = ' a channel'
  end
  return "NOPERM '" .. string.lower(command) .. "' is refused" .. what
end

local function call(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  local message = named(reply.err, command)
  if message ~= reply.err then error(message, 0) end
  -- Any other error is raised as Redis does it, with its code in front.
  return redis.call(command, ...)
end

-- Numbers beyond 2^31 would come out as 1.7e+12.
local function text(number) return string.format('%.0f', number) end

local function server_time()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local now = server_time()

-- A command that cannot succeed shows, by how it fails, whether it may be used at all.
local function refusal(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) ~= 'table' or not reply.err then return nil end
  local message = named(reply.err, command)
  -- Before Redis 7, a wrong number of arguments comes without a code.
  local is_usable = string.find(message, '^ERR') or string.find(message, 'rong number of arg')
  return not is_usable and redis.error_reply(message) or nil
end

local function check()
  for index, wanted in ipairs({ 'hash', 'hash', 'zset', 'zset', 'stream' }) do
    local found = call('TYPE', KEYS[index]).ok
    if found ~= 'none' and found ~= wanted then
      return redis.error_reply('WRONGTYPE ' .. KEYS[index] .. ' is a ' .. found)
    end
  end
  return refusal('XADD', events, '0-0', 'event', '')
    or refusal('HSET', bus, 'epoch', '0', 'unpaired')
    or refusal('ZADD', leases, 'XX', '0', '')
    or refusal('ZREM', leases, '')
    or refusal('HDEL', instances, '')
    or refusal('ZSCORE', leases, '')
    or refusal('ZRANGEBYSCORE', ended, '1', '0')
    or refusal('EXPIRE', bus, KEEP_KEYS)
    or refusal('PUBLISH')
end

local state = call('HMGET', bus, 'epoch', 'seq', 'channel', 'history')
local epoch, seq = tonumber(state[1]), tonumber(state[2])
local channel, history = state[3], tonumber(state[4])

-- A bus is born with its first transition. Its epoch is above any that its stream has seen, so
-- that the ids of the entries go on rising where only the hash was lost.
local function ensure_bus(wanted_channel, wanted_history)
  if not epoch or not seq then
    epoch, seq = now, 0
    local info = redis.pcall('XINFO', 'STREAM', events)
    for index = 1, #info - 1, 2 do
      if info[index] == 'last-generated-id' then
        epoch = math.max(epoch, tonumber(string.match(info[index + 1], '^%d+')) + 1)
      end
    end
  end
  channel = channel or (wanted_channel ~= '' and wanted_channel) or 'instances'
  history = tonumber(wanted_history) or history or 1000
end

local function store_bus()
  call('HSET', bus, 'epoch', text(epoch), 'seq', text(seq), 'channel', channel,
    'history', text(history))
end

local function keep_keys()
  for index = 1, 7 do call('EXPIRE', KEYS[index], KEEP_KEYS) end
end

-- The state of an instance and its record, which stands without the braces.
local function find(id)
  local stored = call('HGET', instances, id)
  if not stored then return nil, nil end
  local word, record = string.match(stored, '^(%a+) %d+ {(.*)}$')
  return word, record
end

local function store(id, word, record)
  call('HSET', instances, id, word .. ' ' .. text(seq) .. ' {' .. record .. '}')
end

-- Publishes an event and writes it down. `extra` is what stands behind the record.
local function emit(kind, record, extra)
  seq = seq + 1
  local event = '{"v":1,"type":"' .. kind .. '","epoch":' .. text(epoch) .. ',"seq":' .. text(seq)
    .. ',"at":' .. text(now) .. ',' .. record .. extra .. '}'
  call('PUBLISH', channel, event)
  if string.sub(record, -13) == ',"plain":true' and PLAIN_WORDS[kind] then
    call('PUBLISH', channel, PLAIN_WORDS[kind])
  end
  call('XADD', events, 'MAXLEN', '~', text(history), text(epoch) .. '-' .. text(seq),
    'event', event)
  store_bus()
end

local function too_large(record, extra)
  -- 128 bytes are more than the members in front of the record can take.
  if #record + #extra + 128 > MOST_BYTES then
    return redis.error_reply('TOOLARGE an event would have more than 8 KiB')
  end
end

-- What an instance uses is no part of its state, so nothing fails for want of it.
local function last_usage(id)
  local used = redis.pcall('HGET', usage, id)
  local extra = ''
  for _, name in ipairs({ 'memory', 'limit' }) do
    local number = type(used) == 'string' and string.match(used, '"' .. name .. '":(%d+)')
    if number and #number < 17 then extra = extra .. ',"' .. name .. '":' .. number end
  end
  return extra
end

local function forget_usage(id) redis.pcall('HDEL', usage, id) end

-- Takes an instance from those present to those that ended, and forgets who ended long ago.
local function retire(id)
  call('ZREM', leases, id)
  call('ZADD', ended, text(now), id)
  local old = call('ZRANGEBYSCORE', ended, '-inf', text(now - KEEP_ENDED), 'LIMIT', 0, 100)
  for _, gone in ipairs(old) do
    call('HDEL', instances, gone)
    call('ZREM', ended, gone)
    forget_usage(gone)
  end
end

local function answer(word, started)
  return { word, text(epoch or 0), text(seq or 0), text(now), started or '', channel or '' }
end

local function started_of(record) return string.match(record, ',"started":(%d+),') end
