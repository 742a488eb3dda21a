-- Moves the position of a handler's name, or counts a try of the next event. Only its owner may.
--
-- A position beyond the bus, of which the last events were lost, would have its next ones passed over.
--
-- KEYS  1 bus (hash), 2 handlers (hash: name -> EPOCH SEQ OWNER END TRIES, `-` for what there is not)
-- ARGV  1 name, 2 token, 3 epoch, 4 number, 5 tries,
--       6 for how long the ownership goes on, in ms; 0 gives it up
-- Returns {word, record, now}; the word is `owner` or `other`

if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end

local stored = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local owner = string.match(stored, '^[%d-]+ [%d-]+ (%S+) %d+ %d+$')
if owner ~= ARGV[2] then return { 'other', stored, text(now) } end
local state = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
local seq = ARGV[4]
if state[1] == ARGV[3] and tonumber(state[2]) and tonumber(state[2]) < (tonumber(seq) or 0) then
  seq = state[2]
end
local keeps = ARGV[6] ~= '0'
local record = table.concat({
  ARGV[3], seq, keeps and owner or '-', keeps and text(now + ARGV[6]) or '0', ARGV[5],
}, ' ')
redis.call('HSET', KEYS[2], ARGV[1], record)
redis.call('EXPIRE', KEYS[2], 604800)
return { 'owner', record, text(now) }
