package redis

import "github.com/redis/go-redis/v9"

// All keys begin with {prefix}, so that a cluster keeps them in one place:
//
//	{prefix}:nodes       sorted set: the nodes, by the time until which they are taken to live
//	{prefix}:node:NAME   hash of one node, which expires with it: u:USER sessions of a user,
//	                     total of all, startups (JSON) the logins under way by source
//	{prefix}:penalties   sorted set: sources, by the time until which something is held against them
//	{prefix}:barred      the same, of those that are kept out
//	{prefix}:code:USER   hash: used, wrong, last
//
// Times are those of Redis, in milliseconds: clocks of nodes may differ.
const clock = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

// acquireScript counts a session of user ARGV[1] for node ARGV[2], of which all nodes
// together may have ARGV[3], and ARGV[4] in total. It returns gone if Redis has forgotten the node.
var acquireScript = redis.NewScript(clock + `
local prefix, user, node = KEYS[1], 'u:' .. ARGV[1], KEYS[1] .. ':node:' .. ARGV[2]
if redis.call('EXISTS', node) == 0 then return 'gone' end
local ofUser, total = 0, 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', prefix .. ':nodes', now, '+inf')) do
	local n = redis.call('HMGET', prefix .. ':node:' .. name, user, 'total')
	ofUser, total = ofUser + (tonumber(n[1]) or 0), total + (tonumber(n[2]) or 0)
end
local most, mostInTotal = tonumber(ARGV[3]), tonumber(ARGV[4])
if most > 0 and ofUser >= most then return 'user' end
if mostInTotal > 0 and total >= mostInTotal then return 'total' end
redis.call('HINCRBY', node, user, 1)
redis.call('HINCRBY', node, 'total', 1)
return 'ok'
`)

// releaseScript takes a session of user ARGV[1] from node ARGV[2].
const releaseScript = `
local user, node = 'u:' .. ARGV[1], KEYS[1] .. ':node:' .. ARGV[2]
if redis.call('EXISTS', node) == 0 then return 'gone' end
if redis.call('HINCRBY', node, user, -1) <= 0 then redis.call('HDEL', node, user) end
redis.call('HINCRBY', node, 'total', -1)
return 'ok'
`

// beatScript says that node ARGV[1] lives for ARGV[2] more milliseconds and has ARGV[3]
// logins under way, and returns those of the others. It returns gone if Redis has forgotten the node.
var beatScript = redis.NewScript(clock + `
local prefix, node = KEYS[1], KEYS[1] .. ':node:' .. ARGV[1]
if redis.call('EXISTS', node) == 0 then return 'gone' end
redis.call('HSET', node, 'startups', ARGV[3])
redis.call('PEXPIRE', node, ARGV[2])
redis.call('ZADD', prefix .. ':nodes', now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', prefix .. ':nodes', '-inf', now)
local others = {}
for _, name in ipairs(redis.call('ZRANGE', prefix .. ':nodes', 0, -1)) do
	if name ~= ARGV[1] then
		others[#others + 1] = redis.call('HGET', prefix .. ':node:' .. name, 'startups') or '{}'
	end
end
return others
`)

// registerScript makes node ARGV[1], which lives for ARGV[2] milliseconds, with the fields
// that follow, in place of node ARGV[3].
var registerScript = redis.NewScript(clock + `
local prefix, node = KEYS[1], KEYS[1] .. ':node:' .. ARGV[1]
redis.call('DEL', prefix .. ':node:' .. ARGV[3], node)
redis.call('ZREM', prefix .. ':nodes', ARGV[3])
for i = 4, #ARGV, 2 do redis.call('HSET', node, ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', node, ARGV[2])
redis.call('ZADD', prefix .. ':nodes', now + ARGV[2], ARGV[1])
return 'ok'
`)

// penalizeScript holds ARGV[2] milliseconds more against source ARGV[1], and tells all
// nodes. ARGV[3] and ARGV[4] are the least that bars and the most that is held;
// ARGV[5] is how many sources are remembered.
const penalizeScript = clock + `
local penalties, barred, source = KEYS[1] .. ':penalties', KEYS[1] .. ':barred', ARGV[1]
local ends = math.max(tonumber(redis.call('ZSCORE', penalties, source)) or 0, now) + ARGV[2]
ends = math.min(ends, now + ARGV[4])
local bars = (tonumber(redis.call('ZSCORE', barred, source)) or 0) > now or ends - now >= tonumber(ARGV[3])
redis.call('ZADD', penalties, ends, source)
if bars then redis.call('ZADD', barred, ends, source) end
for _, key in ipairs({penalties, barred}) do
	redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
	redis.call('ZREMRANGEBYRANK', key, 0, -1 - ARGV[5])
end
redis.call('PUBLISH', KEYS[1], cjson.encode({source = source, left = ends - now, bars = bars}))
return 'ok'
`

// liftScript forgets what is held against the sources from ARGV[2] on, and tells all nodes
// of the network ARGV[1] that they belong to.
const liftScript = `
for i = 2, #ARGV do
	redis.call('ZREM', KEYS[1] .. ':penalties', ARGV[i])
	redis.call('ZREM', KEYS[1] .. ':barred', ARGV[i])
end
redis.call('PUBLISH', KEYS[1], cjson.encode({lift = ARGV[1]}))
return 'ok'
`

// heldScript returns source, milliseconds that are left, and whether it is kept out, of all.
var heldScript = redis.NewScript(clock + `
local all, barred = {}, {}
for _, source in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1] .. ':barred', now, '+inf')) do barred[source] = true end
local found = redis.call('ZRANGEBYSCORE', KEYS[1] .. ':penalties', now, '+inf', 'WITHSCORES')
for i = 1, #found, 2 do
	all[#all + 1] = cjson.encode({source = found[i], left = found[i + 1] - now, bars = barred[found[i]] or false})
end
return all
`)

// useCodeScript is state.Store's UseCode for user ARGV[1], code ARGV[2], which is right if
// ARGV[3] is 1. ARGV[4] wrong ones within ARGV[5] milliseconds are the most, and
// ARGV[6] is for how long a user is remembered.
var useCodeScript = redis.NewScript(clock + `
local key = KEYS[1] .. ':code:' .. ARGV[1]
local was = redis.call('HMGET', key, 'used', 'wrong', 'last')
local used, wrong, last = tonumber(was[1]) or 0, tonumber(was[2]) or 0, tonumber(was[3]) or 0
local code, window = tonumber(ARGV[2]), tonumber(ARGV[5])
local result = 'ok'
if now - last >= window then wrong = 0 end
if wrong >= tonumber(ARGV[4]) then return tostring(last + window - now) end
if ARGV[3] ~= '1' then
	wrong, last, result = wrong + 1, now, 'wrong'
elseif code <= used then
	return 'used'
else
	used, wrong, last = code, 0, now
end
redis.call('HSET', key, 'used', string.format('%.0f', used), 'wrong', wrong, 'last', string.format('%.0f', last))
redis.call('PEXPIRE', key, ARGV[6])
return result
`)

// tryScript counts try ARGV[2] of account ARGV[1] as under way, for ARGV[5] milliseconds
// at most, if fewer than ARGV[3] are wrong, within ARGV[4] milliseconds, or under way.
// It returns ok, wait if that may become so when others have ended, or for how many
// milliseconds it will not be so.
var tryScript = redis.NewScript(clock + `
local key, running = KEYS[1] .. ':tries:' .. ARGV[1], KEYS[1] .. ':running:' .. ARGV[1]
local limit, window = tonumber(ARGV[3]), tonumber(ARGV[4])
local was = redis.call('HMGET', key, 'wrong', 'last')
local wrong, last = tonumber(was[1]) or 0, tonumber(was[2]) or 0
if wrong > 0 and now - last > window then
	wrong = 0
	redis.call('DEL', key)
end
redis.call('ZREMRANGEBYSCORE', running, '-inf', now)
if wrong + redis.call('ZCARD', running) >= limit then
	if wrong >= limit then return tostring(last + window - now) end
	return 'wait'
end
redis.call('ZADD', running, now + ARGV[5], ARGV[2])
redis.call('PEXPIRE', running, ARGV[5])
return 'ok'
`)

// triedScript ends try ARGV[2] of account ARGV[1], with the result ARGV[3]. A wrong
// password is remembered for ARGV[4] milliseconds.
const triedScript = clock + `
local key = KEYS[1] .. ':tries:' .. ARGV[1]
redis.call('ZREM', KEYS[1] .. ':running:' .. ARGV[1], ARGV[2])
if ARGV[3] == 'right' then redis.call('DEL', key) end
if ARGV[3] == 'wrong' then
	redis.call('HINCRBY', key, 'wrong', 1)
	redis.call('HSET', key, 'last', string.format('%.0f', now))
	redis.call('PEXPIRE', key, ARGV[4])
end
return 'ok'
`
