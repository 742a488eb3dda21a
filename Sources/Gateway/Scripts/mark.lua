-- Publishes a mark on the clock of a relay's gateways: from here on all count the messages anew, and so call them
-- by the same names.
--
-- KEYS: clock (hash: line, process, last, published, version, pattern)
-- ARGV: channel of the gateways, version, pattern, author, highest mark that the author has seen, name for a new
--       line
-- Returns: 'marked', line, number, process, publications before ('' where they are not counted), time in ms;
--          'other' where gateways of another version or for another pattern use this clock
--
-- A line belongs to one process of Redis: another one has an order of its own, and may have lost data. A count of
-- publications that fell means that it was reset, and so makes a new line as well.

local clock = KEYS[1]
local channel, version, pattern, author = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local known = redis.call('HMGET', clock, 'line', 'process', 'last', 'published', 'version', 'pattern')
if (known[5] and known[5] ~= version) or (known[6] and known[6] ~= pattern) then return {'other'} end

-- Whoever may not ask gets on without it.
local function info(section)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and text or nil
end
local process = string.match(info('server') or '', 'run_id:(%w+)') or '-'
local statistics = info('commandstats')
local published = statistics and (string.match(statistics, 'cmdstat_publish:calls=(%d+)') or '0') or ''

local line = known[1]
local fell = published ~= '' and known[4] and known[4] ~= '' and tonumber(published) < tonumber(known[4])
if not line or known[2] ~= process or fell then line = ARGV[6] end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number = math.max(tonumber(known[3] or '0') + 1, now, tonumber(ARGV[5]) + 1)
local text = string.format('%.0f', number)

-- First what can be refused where the memory is full, so that no mark is heard that the clock does not know.
redis.call('HSET', clock, 'line', line, 'process', process, 'last', text, 'published', published,
  'version', version, 'pattern', pattern)
redis.call('EXPIRE', clock, 604800)
redis.call('PUBLISH', channel, 'mark ' .. line .. ' ' .. text .. ' ' .. process .. ' '
  .. (published == '' and '-' or published) .. ' ' .. author)
return {'marked', line, text, process, published, string.format('%.0f', now)}
