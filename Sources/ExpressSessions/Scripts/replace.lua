-- Writes a session's new content, provided that it still has the content that was read. A session without a
-- time to live keeps none.
--
-- KEYS: session
-- ARGV: content that was read, new content, new time to live in seconds
-- Returns: 'replaced'; 'changed' where it has another content by now; 'gone' where there is none

local content = redis.call('GET', KEYS[1])
if not content then return 'gone' end
if content ~= ARGV[1] then return 'changed' end
if redis.call('PTTL', KEYS[1]) == -1 then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 'replaced'
