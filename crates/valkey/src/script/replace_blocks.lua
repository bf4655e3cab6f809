#!lua
-- Replaces the list of blocks, if it still has the version on which the new list is based.
--
-- KEYS  1  blocks  hash: the fields `version` and `text`
-- ARGV  1  the version on which the new list is based; 0 if there is no list
--       2  the new text
-- Reply: 1 if the list was replaced, otherwise 0

local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if version ~= tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'version', string.format('%.0f', version + 1), 'text', ARGV[2])
return 1
