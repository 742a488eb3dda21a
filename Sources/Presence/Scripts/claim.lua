-- Becomes or stays the owner of a handler's name, unless another owner's time is not over yet.
--
-- KEYS  1 bus (hash), 2 handlers (hash: name -> EPOCH SEQ OWNER END TRIES, `-` for what there is not)
-- ARGV  1 name, 2 token, 3 for how long in ms,
--       4 epoch and 5 number of the position where the name begins if it has no record: `-` to begin with
--       the first event of a bus, empty for the bus's present position
-- Returns {word, record, now}; the word is `owner`, `other`, or `new` for an owner who was not the last one

if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end

local stored = redis.call('HGET', KEYS[2], ARGV[1])
local epoch, seq, owner, ends, tries = string.match(stored or '', '^([%d-]+) ([%d-]+) (%S+) (%d+) (%d+)$')
-- An end that is further away than any owner's time lasts was set by a clock that went back.
local goes_on = owner and tonumber(ends) > now and tonumber(ends) <= now + ARGV[3]
if goes_on and owner ~= '-' and owner ~= ARGV[2] then return { 'other', stored, text(now) } end
if not owner then
  epoch, seq, tries = ARGV[4], ARGV[5], '0'
  if epoch == '' then
    local state = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
    epoch, seq = state[1] or '-', state[2] or '-'
  end
end
local record = table.concat({ epoch, seq, ARGV[2], text(now + ARGV[3]), tries }, ' ')
redis.call('HSET', KEYS[2], ARGV[1], record)
redis.call('EXPIRE', KEYS[2], 604800)
return { owner and owner ~= ARGV[2] and 'new' or 'owner', record, text(now) }
