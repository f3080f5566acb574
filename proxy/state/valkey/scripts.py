"""What the server does in one step, in its own Lua; docs/adr/0015 explains the keys.

    local-ai:processes      sorted set: process → when its lease ends, in ms
    local-ai:held:PROCESS   hash: key → how many it holds; expires with the lease
    local-ai:wants:KEY      sorted set: process → since when it wants one, in µs
    local-ai:rate:KEY       when an allowance is full again, in s; expires then
    local-ai:news:DATABASE  channel of JSON lists: what, who (empty: the server), …

All times are the server's. Keys are made up in the scripts: it is no cluster.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = "local-ai:"
PROCESSES: Final = f"{PREFIX}processes"
HELD: Final = f"{PREFIX}held:"
WANTS: Final = f"{PREFIX}wants:"
RATE: Final = f"{PREFIX}rate:"
NEWS: Final = f"{PREFIX}news"

_HEAD: Final = f"""
local PROCESSES, HELD, WANTS, NEWS = '{PROCESSES}', '{HELD}', '{WANTS}', '{NEWS}'
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)
local function whole(number) return string.format('%.0f', number) end
local function freed(key)
  redis.call('PUBLISH', NEWS, cjson.encode({{'free', '', key}}))
end
local function wanted(key)
  return redis.call('EXISTS', WANTS .. key) == 1
end
"""

BEAT: Final = (
    _HEAD
    + """
-- ARGV: process, lease in ms, then key and count of all that it holds.
-- Answers how many processes live.
local me, lease_ms = ARGV[1], tonumber(ARGV[2])
local dead = redis.call('ZREMRANGEBYSCORE', PROCESSES, '-inf', whole(now_ms))
redis.call('ZADD', PROCESSES, whole(now_ms + lease_ms), me)
redis.call('DEL', HELD .. me)
for i = 3, #ARGV, 2 do
  redis.call('HSET', HELD .. me, ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', HELD .. me, lease_ms)
redis.call('PUBLISH', NEWS, cjson.encode({'beat', me}))
if dead > 0 then freed('') end
return redis.call('ZCARD', PROCESSES)
"""
)

TELL: Final = (
    _HEAD
    + """
-- ARGV: process, lease in ms, then key and count of what has changed.
local me, lease_ms = ARGV[1], tonumber(ARGV[2])
for i = 3, #ARGV, 2 do
  local key, count = ARGV[i], ARGV[i + 1]
  local before = tonumber(redis.call('HGET', HELD .. me, key) or 0)
  if count == '0' then
    redis.call('HDEL', HELD .. me, key)
  else
    redis.call('HSET', HELD .. me, key, count)
  end
  if tonumber(count) < before and wanted(key) then freed(key) end
end
redis.call('PEXPIRE', HELD .. me, lease_ms)
"""
)

TAKE: Final = (
    _HEAD
    + """
-- ARGV: process, lease in ms, how many, for how long in ms a want counts, then key,
-- limit (-1: none) and share (what it may hold at most) of each.
-- Answers how many were taken of every key, then how many of each key others hold,
-- counting those who have waited longer than this process.
local me, lease_ms = ARGV[1], tonumber(ARGV[2])
local room, want_us = tonumber(ARGV[3]), tonumber(ARGV[4]) * 1000
local asked = room
local live = redis.call('ZRANGEBYSCORE', PROCESSES, '(' .. whole(now_ms), '+inf')
local lives = {}
for _, process in ipairs(live) do lives[process] = true end
local reply, rooms = {0}, {}
for i = 5, #ARGV, 3 do
  local key, limit, share = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local others = 0
  for _, process in ipairs(live) do
    if process ~= me then
      others = others + tonumber(redis.call('HGET', HELD .. process, key) or 0)
    end
  end
  if limit >= 0 then
    local wants = WANTS .. key
    redis.call('ZREMRANGEBYSCORE', wants, '-inf', whole(now_us - want_us))
    local since = tonumber(redis.call('ZSCORE', wants, me) or now_us)
    local waiting = redis.call('ZRANGEBYSCORE', wants, '-inf', '(' .. whole(since))
    for _, process in ipairs(waiting) do
      if process ~= me and lives[process] then others = others + 1 end
    end
    others = math.max(others, limit - share)
    local mine = tonumber(redis.call('HGET', HELD .. me, key) or 0)
    rooms[key] = limit - others - mine
    room = math.min(room, rooms[key])
  end
  reply[#reply + 1] = others
end
room = math.max(room, 0)
reply[1] = room
for i = 5, #ARGV, 3 do
  local key = ARGV[i]
  if room > 0 then
    redis.call('HINCRBY', HELD .. me, key, room)
    if rooms[key] then redis.call('ZREM', WANTS .. key, me) end
  end
  if room < asked and rooms[key] and rooms[key] <= room then
    redis.call('ZADD', WANTS .. key, 'NX', whole(now_us), me)
    redis.call('PEXPIRE', WANTS .. key, ARGV[4])
  end
end
if room > 0 then redis.call('PEXPIRE', HELD .. me, lease_ms) end
return reply
"""
)

WAIVE: Final = (
    _HEAD
    + """
-- ARGV: process, then the keys that it no longer wants one of.
for i = 2, #ARGV do
  if redis.call('ZREM', WANTS .. ARGV[i], ARGV[1]) == 1 and wanted(ARGV[i]) then
    freed(ARGV[i])
  end
end
"""
)

LEAVE: Final = (
    _HEAD
    + """
-- ARGV: process, which ends and gives back all that it holds.
redis.call('ZREM', PROCESSES, ARGV[1])
redis.call('DEL', HELD .. ARGV[1])
freed('')
"""
)

_RATES: Final = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local function exact(number) return string.format('%.17g', number) end
local function keep(key, full_at)
  if full_at > now then
    local ms = math.ceil((full_at - now) * 1000) + 1000
    redis.call('SET', key, exact(full_at), 'PX', string.format('%.0f', ms))
  else
    redis.call('DEL', key)
  end
end
"""

RESERVE: Final = (
    _RATES
    + """
-- KEYS: allowances. ARGV: now (empty: the server's time), then period and span of each.
-- Answers now, for how long to wait, and when each is full; the arithmetic is gcra.py's.
local wait, full_at = 0, {}
for i, key in ipairs(KEYS) do
  local period, span = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  full_at[i] = tonumber(redis.call('GET', key) or now)
  wait = math.max(wait, math.max(full_at[i], now) + span - period - now)
end
if wait <= 1e-6 then
  wait = 0
  for i, key in ipairs(KEYS) do
    full_at[i] = math.max(full_at[i], now) + tonumber(ARGV[2 * i + 1])
    keep(key, full_at[i])
  end
end
local reply = {exact(now), exact(wait)}
for i = 1, #KEYS do reply[i + 2] = exact(full_at[i]) end
return reply
"""
)

SETTLE: Final = (
    _RATES
    + """
-- KEYS: allowances. ARGV: now, then for each where its charge ended and the change.
for i, key in ipairs(KEYS) do
  local ends_at, change = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full_at = tonumber(redis.call('GET', key) or now)
  if change >= 0 then
    full_at = math.max(full_at, now) + change
  else
    full_at = full_at - math.min(-change, math.max(0, ends_at - now))
  end
  keep(key, full_at)
end
"""
)

SCRIPTS: Final = (BEAT, TELL, TAKE, WAIVE, LEAVE, RESERVE, SETTLE)
