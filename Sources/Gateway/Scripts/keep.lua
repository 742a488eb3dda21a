-- Publishes a message for a user, and keeps it for gateways that come later.
--
-- It gets a mark of its own, so that those that hear it and those that read it later call it by the same name. What
-- can be refused where the memory is full comes first; where PUBLISH is refused, nothing stays stored.
--
-- KEYS: clock (hash), kept (sorted set: LINE MARK PUBLISHED CHANNEL-LENGTH CHANNEL PAYLOAD, by time in ms)
-- ARGV: channel of the gateways, channel, payload, name for a new line, the most that are kept: messages, bytes of
--       one message, ms, bytes in all
-- Returns: 'kept', line, number, how many subscribers got it; 'large'

local clock, kept = KEYS[1], KEYS[2]
local channel, payload = ARGV[2], ARGV[3]
if #payload > tonumber(ARGV[6]) then return {'large'} end

local known = redis.call('HMGET', clock, 'line', 'process', 'last', 'published')
local function info(section)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and text or nil
end
local process = string.match(info('server') or '', 'run_id:(%w+)') or '-'
-- Whoever may not ask takes the gateways' word for it.
if process == '-' and known[2] then process = known[2] end
local statistics = info('commandstats')
local published = statistics and (string.match(statistics, 'cmdstat_publish:calls=(%d+)') or '0') or '-'
local line = known[1]
local fell = published ~= '-' and known[4] and known[4] ~= '' and tonumber(published) < tonumber(known[4])
if not line or known[2] ~= process or fell then line = ARGV[4] end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number = math.max(tonumber(known[3] or '0') + 1, now)
local text = string.format('%.0f', number)

local entry = line .. ' ' .. text .. ' ' .. published .. ' ' .. #channel .. ' ' .. channel .. payload
redis.call('HSET', clock, 'line', line, 'process', process, 'last', text, 'published',
  published == '-' and '' or published)
redis.call('EXPIRE', clock, 604800)
redis.call('ZADD', kept, text, entry)
redis.call('ZREMRANGEBYSCORE', kept, '-inf', '(' .. string.format('%.0f', now - tonumber(ARGV[7])))
redis.call('ZREMRANGEBYRANK', kept, 0, -tonumber(ARGV[5]) - 1)
-- The oldest go until all together are small enough.
local size = 0
for _, other in ipairs(redis.call('ZREVRANGE', kept, 0, -1)) do
  size = size + #other
  if size > tonumber(ARGV[8]) then redis.call('ZREM', kept, other) end
end
redis.call('PEXPIRE', kept, ARGV[7])

redis.call('PUBLISH', ARGV[1], 'mark ' .. line .. ' ' .. text .. ' ' .. process .. ' ' .. published .. ' keep')
local subscribers = redis.pcall('PUBLISH', channel, payload)
if type(subscribers) == 'table' then
  redis.call('ZREM', kept, entry)
  return subscribers
end
return {'kept', line, text, subscribers}
