-- Publishes a message for a user, and keeps it for gateways that come later.
--
-- It gets a mark of its own, so that those that hear it and those that read it later call it by the same name. A
-- refused PUBLISH stores nothing.
--
-- KEYS: clock (hash), kept (sorted set: LINE MARK PUBLISHED CHANNEL-LENGTH CHANNEL PAYLOAD, by time in ms)
-- ARGV: channel of the gateways, channel, payload, name for a new line, the most that are kept: messages, bytes of
--       one message, ms
-- Returns: 'kept', line, number, how many subscribers got it; 'large'

local clock, kept = KEYS[1], KEYS[2]
local channel, payload = ARGV[2], ARGV[3]
if #payload > tonumber(ARGV[6]) then return {'large'} end

local known = redis.call('HMGET', clock, 'line', 'process', 'last')
local function info(section)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and text or nil
end
local process = string.match(info('server') or '', 'run_id:(%w+)') or '-'
local statistics = info('commandstats')
local published = statistics and (string.match(statistics, 'cmdstat_publish:calls=(%d+)') or '0') or '-'
local line = known[1]
if not line or known[2] ~= process then line = ARGV[4] end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number = math.max(tonumber(known[3] or '0') + 1, now)
local text = string.format('%.0f', number)

redis.call('PUBLISH', ARGV[1], 'mark ' .. line .. ' ' .. text .. ' ' .. process .. ' ' .. published .. ' keep')
local subscribers = redis.call('PUBLISH', channel, payload)
redis.call('HSET', clock, 'line', line, 'process', process, 'last', text, 'published', published == '-' and '' or published)
redis.call('EXPIRE', clock, 604800)
redis.call('ZADD', kept, text, line .. ' ' .. text .. ' ' .. published .. ' ' .. #channel .. ' ' .. channel .. payload)
redis.call('ZREMRANGEBYSCORE', kept, '-inf', '(' .. string.format('%.0f', now - tonumber(ARGV[7])))
redis.call('ZREMRANGEBYRANK', kept, 0, -tonumber(ARGV[5]) - 1)
redis.call('PEXPIRE', kept, ARGV[7])
return {'kept', line, text, subscribers}
