"""What Redis does by itself, in one step: nobody sees half of it, nor comes between.

All keys of a memory share a hash tag, so that a cluster keeps them together.
"""

from __future__ import annotations

READ = """
-- KEYS: head, log
-- ARGV: the first line wanted; nothing for none
local lines = {}
if ARGV[1] ~= '' then lines = redis.call('LRANGE', KEYS[2], ARGV[1], -1) end
return {redis.call('HGETALL', KEYS[1]), lines, redis.call('LLEN', KEYS[2])}
"""
"""Reads a session as it is at one moment; a transaction could not where memory is full."""

APPEND = """
-- KEYS: head, log, sessions, once
-- ARGV: session, whether a version is expected, that version, a new incarnation, the time as text,
--       the time in ms, ms to live or 0, the lines without their numbers
local done = redis.call('GET', KEYS[4])
if done then return {1, done, 0} end
local head = redis.call('HMGET', KEYS[1], 'incarnation', 'n', 'size')
local incarnation, n, size = head[1], tonumber(head[2] or '0') or 0, tonumber(head[3] or '0') or 0
local version = ''
if incarnation then version = incarnation .. '-' .. string.format('%d', n) end
if ARGV[2] == '1' and ARGV[3] ~= version then return {0, version, 0} end
if not incarnation then
  incarnation = ARGV[4]
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'incarnation', incarnation, 'created', ARGV[5], 'edits', 0)
end
for i = 8, #ARGV do
  n = n + 1
  local line = '{"n":' .. string.format('%d', n) .. ',' .. ARGV[i]
  redis.call('RPUSH', KEYS[2], line)
  size = size + #line + 1
end
version = incarnation .. '-' .. string.format('%d', n)
redis.call('HSET', KEYS[1], 'n', string.format('%d', n), 'size', string.format('%d', size),
  'updated', ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[6], ARGV[1])
if ARGV[7] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
redis.call('SET', KEYS[4], version, 'PX', 60000)
return {1, version, size}
"""
"""Adds messages; a second time, because an answer was lost, it only answers."""

REPLACE = """
-- KEYS: head, log, what replaces its beginning, damaged
-- ARGV: incarnation, edits, how many lines are replaced, the size of what replaces them,
--       the damaged lines
local head = redis.call('HMGET', KEYS[1], 'incarnation', 'edits')
if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] then
  redis.call('DEL', KEYS[3])
  return 0
end
local size = tonumber(ARGV[4])
for _, line in ipairs(redis.call('LRANGE', KEYS[2], ARGV[3], -1)) do
  redis.call('RPUSH', KEYS[3], line)
  size = size + #line + 1
end
redis.call('DEL', KEYS[2])
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('RENAME', KEYS[3], KEYS[2]) end
for i = 5, #ARGV do redis.call('RPUSH', KEYS[4], ARGV[i]) end
local left = redis.call('PTTL', KEYS[1])
for _, key in ipairs({KEYS[2], KEYS[4]}) do
  if left > 0 then redis.call('PEXPIRE', key, left) else redis.call('PERSIST', key) end
end
redis.call('HSET', KEYS[1], 'size', string.format('%d', size))
redis.call('HINCRBY', KEYS[1], 'edits', 1)
return 1
"""
"""Puts other lines in the place of a session's first ones, if nobody else has done so."""

SET_FACT = """
-- KEYS: fact, the namespace's keys, namespaces
-- ARGV: namespace, key, whether a version is expected, that version, the new one, the value,
--       ms to live or 0
local known = redis.call('GET', KEYS[1])
local version = known and string.match(known, '^(%S+) ') or ''
if version == ARGV[5] then return {1, version} end
if ARGV[3] == '1' and ARGV[4] ~= version then return {0, version} end
if ARGV[7] == '0' then redis.call('SET', KEYS[1], ARGV[6])
else redis.call('SET', KEYS[1], ARGV[6], 'PX', ARGV[7]) end
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[1])
return {1, ARGV[5]}
"""
"""Keeps a fact, if it is at the version that is expected."""

FORGET_FACT = """
-- KEYS: fact, the namespace's keys, namespaces
-- ARGV: namespace, key, whether only if it has expired
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2])
if redis.call('SCARD', KEYS[2]) == 0 then redis.call('SREM', KEYS[3], ARGV[1]) end
return 1
"""
"""Deletes a fact with its name."""

FORGET_SESSION = """
-- KEYS: head, log, damaged, sessions
-- ARGV: session, whether only if it has expired
if ARGV[2] == '1' and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('ZREM', KEYS[4], ARGV[1])
return 1
"""
"""Deletes a session with its name."""
