#!lua
-- Replaces a mailbox, if no other process has changed it since it was read.
--
-- KEYS  1  mailbox   string: a nonce of 16 characters, and the text of the mailbox
--       2  arrivals  stream: the receivers of messages that have arrived
-- ARGV  1  the nonce that was read; empty if there was no mailbox
--       2  the new nonce
--       3  the new text
--       4  after how many milliseconds the server deletes the mailbox
--       5  the receiver, if a message has arrived; otherwise empty
--       6  number of entries that the stream keeps, approximately
-- Reply: 1 if the mailbox was replaced, otherwise 0

local current = redis.call('GET', KEYS[1]) or ''
if string.sub(current, 1, 16) ~= ARGV[1] then
  return 0
end
if ARGV[5] ~= '' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*', 'to', ARGV[5])
end
redis.call('SET', KEYS[1], ARGV[2] .. ARGV[3], 'PX', ARGV[4])
return 1
