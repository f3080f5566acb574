"""What the server does in one step, in its own Lua; docs/adr/0015 explains the keys.

    local-ai:processes      sorted set: process → when its lease ends, in ms
    local-ai:held:PROCESS   hash: key → how many it holds; expires with the lease
    local-ai:wants:KEY      sorted set: process → since when it wants one, in µs
    local-ai:rate:KEY       when an allowance is full again, in s; expires then
    local-ai:aside:PROCESS  hash: account → what it has set aside; expires with the lease
    local-ai:spent:PERIOD:ACCOUNT  hash of a day (d20778) or month (m24321) of UTC:
                            `all` that was spent, `known` once what was before is in it,
                            and what each process spent of it; expires a while after
    local-ai:blob:KEY       data; expires. local-ai:blobs: sorted set, key → when it does, in
                            ms; local-ai:blob-sizes: hash, key → bytes, and `all`
    local-ai:seen:THING     hash: at (ms), data; local-ai:looks:THING: the process that looks;
                            both expire
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
ASIDE: Final = f"{PREFIX}aside:"
SPENT: Final = f"{PREFIX}spent:"
BLOB: Final = f"{PREFIX}blob:"
NEWS: Final = f"{PREFIX}news"

_HEAD: Final = f"""
local PROCESSES, HELD, WANTS, NEWS = '{PROCESSES}', '{HELD}', '{WANTS}', '{NEWS}'
local ASIDE, SPENT = '{ASIDE}', '{SPENT}'
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
-- First: a server without memory refuses only what begins with such as this.
redis.call('ZADD', PROCESSES, whole(now_ms + lease_ms), me)
local dead = redis.call('ZREMRANGEBYSCORE', PROCESSES, '-inf', whole(now_ms))
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
redis.call('DEL', HELD .. ARGV[1], ASIDE .. ARGV[1])
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

_MONEY: Final = (
    _HEAD
    + """
local me, lease_ms = ARGV[1], tonumber(ARGV[2])
local DAYS, MONTHS = 2 * 86400, 33 * 86400
local function day_key(account, day) return SPENT .. 'd' .. day .. ':' .. account end
local function month_key(account, month)
  return SPENT .. 'm' .. month .. ':' .. account
end
local function number(key, field) return tonumber(redis.call('HGET', key, field) or 0) end
"""
)

PAY: Final = (
    _MONEY
    + """
-- ARGV: process, lease in ms, then account, what is set aside, day, month, and of each
-- of these two what this process spent and what it knows to have said before.
local function say(key, before, spent, seconds)
  local said = redis.call('HGET', key, me)
  if not said then
    -- Forgotten here: what was said before is in what storage told, if that is known.
    said = redis.call('HEXISTS', key, 'known') == 1 and before or 0
  end
  local more = tonumber(spent) - tonumber(said)
  redis.call('HSET', key, me, spent)
  redis.call('HINCRBY', key, 'all', whole(more))
  redis.call('EXPIRE', key, seconds)
end
for i = 3, #ARGV, 8 do
  local account, aside, day, month = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if aside == '0' then
    redis.call('HDEL', ASIDE .. me, account)
  else
    redis.call('HSET', ASIDE .. me, account, aside)
  end
  if ARGV[i + 4] ~= '0' then
    say(day_key(account, day), ARGV[i + 5], ARGV[i + 4], DAYS)
  end
  if ARGV[i + 6] ~= '0' then
    say(month_key(account, month), ARGV[i + 7], ARGV[i + 6], MONTHS)
  end
end
redis.call('PEXPIRE', ASIDE .. me, lease_ms)
"""
)

LEARN: Final = (
    _MONEY
    + """
-- ARGV: process, lease in ms, account, day, month, what was spent of each at least.
local function learn(key, spent, seconds)
  if number(key, 'all') < tonumber(spent) then redis.call('HSET', key, 'all', spent) end
  redis.call('HSET', key, 'known', 1)
  redis.call('EXPIRE', key, seconds)
end
learn(day_key(ARGV[3], ARGV[4]), ARGV[6], DAYS)
learn(month_key(ARGV[3], ARGV[5]), ARGV[7], MONTHS)
"""
)

BUY: Final = (
    _MONEY
    + """
-- ARGV: process, lease in ms, now (empty: the server's time), amount, then account,
-- daily and monthly limit (-1: none) of each.
-- Answers now, what is refused ('' for nothing, 'unknown', 'monthly', 'daily') and of
-- which account; then of each whether it is known, what was spent in this day and month,
-- and what others have set aside. Nothing is taken unless all of it is.
local now, amount = tonumber(ARGV[3]) or now_us / 1000000, tonumber(ARGV[4])
local today = math.floor(now / 86400)
-- The civil calendar in eras of 400 years that begin with March.
local since = today + 719468
local era = math.floor(since / 146097)
local of_era = since - era * 146097
local year = math.floor((of_era - math.floor(of_era / 1460)
  + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
local from_march = math.floor((5 * of_year + 2) / 153)
local month = whole((year + era * 400) * 12 + from_march + 2)
today = whole(today)
local live = redis.call('ZRANGEBYSCORE', PROCESSES, '(' .. whole(now_ms), '+inf')
local reply = {string.format('%.17g', now), '', 0}
local function refuse(why, i)
  if reply[2] == '' or (why == 'unknown' and reply[2] ~= why) then
    reply[2], reply[3] = why, (i - 5) / 3
  end
end
for i = 5, #ARGV, 3 do
  local account, daily, monthly = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local of_month = month_key(account, month)
  local known = redis.call('HEXISTS', of_month, 'known')
  local spent_day = number(day_key(account, today), 'all')
  local spent_month, others = number(of_month, 'all'), 0
  for _, process in ipairs(live) do
    if process ~= me then others = others + number(ASIDE .. process, account) end
  end
  local wanted = number(ASIDE .. me, account) + others + amount
  if known == 0 then
    refuse('unknown', i)
  elseif monthly >= 0 and spent_month + wanted > monthly then
    refuse('monthly', i)
  elseif daily >= 0 and spent_day + wanted > daily then
    refuse('daily', i)
  end
  for _, one in ipairs({known, spent_day, spent_month, others}) do
    reply[#reply + 1] = whole(one)
  end
end
if reply[2] == '' then
  for i = 5, #ARGV, 3 do redis.call('HINCRBY', ASIDE .. me, ARGV[i], ARGV[4]) end
  redis.call('PEXPIRE', ASIDE .. me, lease_ms)
end
return reply
"""
)

KEEP: Final = f"""
-- ARGV: key, data, for how many ms, how many bytes there may be in all.
-- Answers how many are kept, in how many bytes. Those that end first make room.
local BLOB, BLOBS, SIZES = '{BLOB}', '{PREFIX}blobs', '{PREFIX}blob-sizes'
local key, size, most = ARGV[1], #ARGV[2] + #ARGV[1] + 200, tonumber(ARGV[4])
-- First: a server without memory refuses only what begins with such as this.
redis.call('HINCRBY', SIZES, 'all', 0)
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function drop(one)
  redis.call('DEL', BLOB .. one)
  redis.call('ZREM', BLOBS, one)
  local its = redis.call('HGET', SIZES, one)
  if its then
    redis.call('HINCRBY', SIZES, 'all', -tonumber(its))
    redis.call('HDEL', SIZES, one)
  end
end
drop(key)
local past = redis.call(
  'ZRANGEBYSCORE', BLOBS, '-inf', string.format('%.0f', now_ms), 'LIMIT', 0, 1000)
for _, one in ipairs(past) do drop(one) end
while tonumber(redis.call('HGET', SIZES, 'all') or 0) + size > most do
  local first = redis.call('ZRANGE', BLOBS, 0, 0)[1]
  if not first then break end
  drop(first)
end
redis.call('SET', BLOB .. key, ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', BLOBS, string.format('%.0f', now_ms + tonumber(ARGV[3])), key)
redis.call('HSET', SIZES, key, size)
local all = redis.call('HINCRBY', SIZES, 'all', size)
return {{redis.call('ZCARD', BLOBS), all}}
"""

ASK: Final = f"""
-- ARGV: thing, process, age in ms that will do, lease in ms.
-- Answers 1 if the process is to look now, and what was seen by another.
local seen, looks = '{PREFIX}seen:' .. ARGV[1], '{PREFIX}looks:' .. ARGV[1]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local at = tonumber(redis.call('HGET', seen, 'at'))
if at and now_ms - at < tonumber(ARGV[3]) then
  return {{0, redis.call('HGET', seen, 'data')}}
end
local who = redis.call('GET', looks)
if who and who ~= ARGV[2] then return {{0, ''}} end
redis.call('SET', looks, ARGV[2], 'PX', ARGV[4])
return {{1, ''}}
"""

SEEN: Final = f"""
-- ARGV: thing, process, data (empty: nothing was seen), for how many ms it is kept.
local seen, looks = '{PREFIX}seen:' .. ARGV[1], '{PREFIX}looks:' .. ARGV[1]
if redis.call('GET', looks) == ARGV[2] then redis.call('DEL', looks) end
if ARGV[3] ~= '' then
  local time = redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('HSET', seen, 'at', string.format('%.0f', now_ms), 'data', ARGV[3])
  redis.call('PEXPIRE', seen, ARGV[4])
end
"""

SCRIPTS: Final = (BEAT, TELL, TAKE, WAIVE, LEAVE, RESERVE, SETTLE, PAY, LEARN, BUY)
