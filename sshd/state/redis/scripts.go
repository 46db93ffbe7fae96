package redis

import "github.com/redis/go-redis/v9"

// All keys begin with {prefix}, so that a cluster keeps them in one place:
//
//	{prefix}:nodes       sorted set: the nodes, by the time until which they are taken to live
//	{prefix}:node:NAME   hash of one node, which expires with it: u:USER sessions of a user,
//	                     total of all
//	{prefix}:startups    hash: by node its logins under way by source (JSON), if it has any
//	{prefix}:penalties   sorted set: sources, by the time at which their penalties end
//	{prefix}:barred      the same, of those that are kept out
//	{prefix}:code:USER   hash: used, wrong, last
//	{prefix}:mail:KEY    a mail that was sent, or "turn": a node looks who is due
//	{prefix}:born        since when Redis has its data
//	{prefix}:holders     sorted set: the processes that count host directories, as nodes
//	{prefix}:usage:HOST  hash of a host directory: bytes and files that are used or reserved,
//	                     counted (when), counting (who does now, with bytes0, files0, reserved0
//	                     as it began), stale if a process died, h:HOLDER what a process has
//	                     reserved and added, bytes and files of each
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
local most, mostInTotal = tonumber(ARGV[3]), tonumber(ARGV[4])
local ofUser, total = 0, 0
for _, name in ipairs((most > 0 or mostInTotal > 0) and redis.call('ZRANGEBYSCORE', prefix .. ':nodes', now, '+inf') or {}) do
	local n = redis.call('HMGET', prefix .. ':node:' .. name, user, 'total')
	ofUser, total = ofUser + (tonumber(n[1]) or 0), total + (tonumber(n[2]) or 0)
end
if most > 0 and ofUser >= most then return 'user' end
if mostInTotal > 0 and total >= mostInTotal then return 'total' end
redis.call('HINCRBY', node, user, 1)
redis.call('HINCRBY', node, 'total', 1)
return 'ok'
`)

// releaseScript removes a session of user ARGV[1] from node ARGV[2].
const releaseScript = `
local user, node = 'u:' .. ARGV[1], KEYS[1] .. ':node:' .. ARGV[2]
if redis.call('EXISTS', node) == 0 then return 'gone' end
if redis.call('HINCRBY', node, user, -1) <= 0 then redis.call('HDEL', node, user) end
redis.call('HINCRBY', node, 'total', -1)
return 'ok'
`

// beatScript says that node ARGV[1], of process ARGV[4], lives for ARGV[2] more milliseconds
// and has ARGV[3] logins under way, and returns how many nodes live, and the logins of others that have any. It returns gone if Redis has forgotten the node.
var beatScript = redis.NewScript(clock + `
local prefix, node = KEYS[1], KEYS[1] .. ':node:' .. ARGV[1]
if redis.call('EXISTS', node) == 0 then return 'gone' end
redis.call('PEXPIRE', node, ARGV[2])
if ARGV[3] == '{}' then redis.call('HDEL', prefix .. ':startups', ARGV[1])
else redis.call('HSET', prefix .. ':startups', ARGV[1], ARGV[3]) end
redis.call('ZADD', prefix .. ':nodes', now + ARGV[2], ARGV[1])
redis.call('ZADD', prefix .. ':holders', now + ARGV[2], ARGV[4])
redis.call('ZREMRANGEBYSCORE', prefix .. ':nodes', '-inf', now)
redis.call('ZREMRANGEBYSCORE', prefix .. ':holders', '-inf', now)
local found = {redis.call('ZCARD', prefix .. ':nodes')}
local startups = redis.call('HGETALL', prefix .. ':startups')
for i = 1, #startups, 2 do
	if not redis.call('ZSCORE', prefix .. ':nodes', startups[i]) then
		redis.call('HDEL', prefix .. ':startups', startups[i])
	elseif startups[i] ~= ARGV[1] then
		found[#found + 1] = startups[i + 1]
	end
end
return found
`)

// registerScript makes node ARGV[1], which lives for ARGV[2] milliseconds, with the fields
// that follow, in place of node ARGV[3]. It returns when Redis began to remember, and for
// how many milliseconds it has.
var registerScript = redis.NewScript(clock + `
local prefix, node = KEYS[1], KEYS[1] .. ':node:' .. ARGV[1]
redis.call('DEL', prefix .. ':node:' .. ARGV[3], node)
redis.call('ZREM', prefix .. ':nodes', ARGV[3])
for i = 4, #ARGV, 2 do redis.call('HSET', node, ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', node, ARGV[2])
redis.call('ZADD', prefix .. ':nodes', now + ARGV[2], ARGV[1])
redis.call('SET', prefix .. ':born', now, 'NX')
local born = redis.call('GET', prefix .. ':born')
return {born, now - born}
`)

// penalizeScript adds ARGV[2] milliseconds to the penalty of source ARGV[1], and tells
// all nodes. ARGV[3] and ARGV[4] are the least that bars and the most that is held;
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

// liftScript removes the penalties of the sources from ARGV[2] on, and tells all nodes
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
// ARGV[6] is for how long a user is remembered. It returns gone if Redis has lost its data
// since ARGV[7]: then it is not known whether the code was used.
var useCodeScript = redis.NewScript(clock + `
if redis.call('GET', KEYS[1] .. ':born') ~= ARGV[7] then return 'gone' end
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

// A usageOp is what usageScript does.
type usageOp string

const (
	usageKnow    usageOp = "know"    // settle, and find out whether the directory must be measured
	usageCounted usageOp = "counted" // it holds N
	usageGiveUp  usageOp = "giveup"  // it cannot be measured
	usageReserve usageOp = "reserve" // N more, and a piece besides
	usageSettle  usageOp = "settle"  // nothing is reserved any more
	usageLeave   usageOp = "leave"   // and no session uses the directory
)

// usageScript does ARGV[3] for process ARGV[2] about directory ARGV[1]. The process has
// added ARGV[4] bytes and ARGV[5] files so far, of which the last report to Redis had ARGV[6] and
// ARGV[7]. N is ARGV[8] and ARGV[9], its limit ARGV[10] and ARGV[11], a piece ARGV[12] and
// ARGV[13]. A count is old after ARGV[14] milliseconds, and forgotten after ARGV[15].
// It returns an answer, what is reserved for the process, what is used or reserved in all,
// and whether that is stale. Numbers of bytes are exact up to 2^53.
var usageScript = redis.NewScript(clock + `
local prefix, me, op = KEYS[1], ARGV[2], ARGV[3]
local key, mine = prefix .. ':usage:' .. ARGV[1], 'h:' .. me
local added = {tonumber(ARGV[4]), tonumber(ARGV[5])}
local heard = {tonumber(ARGV[6]), tonumber(ARGV[7])}
local n = {tonumber(ARGV[8]), tonumber(ARGV[9])}
local function lives(holder) return holder == me or (tonumber(redis.call('ZSCORE', prefix .. ':holders', holder)) or 0) > now end
local function text(...) return string.format(('%.0f '):rep(select('#', ...)):sub(1, -2), ...) end

-- What others have reserved and not used. A process that died has perhaps used it.
local is, others, idle, idleFiles = {}, 0, 0, 0
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do is[all[i]] = all[i + 1] end
for field, value in pairs(is) do
	if field:sub(1, 2) == 'h:' and field ~= mine then
		local rb, rf, ab, af = value:match('(%S+) (%S+) (%S+) (%S+)')
		if lives(field:sub(3)) then
			others, idle, idleFiles = others + 1, idle + rb - ab, idleFiles + rf - af
		else
			redis.call('HDEL', key, field)
			if rb ~= ab or rf ~= af then
				redis.call('HSET', key, 'stale', 1)
				is.stale = '1'
			end
		end
	end
end

local counting = is.counting and lives(is.counting)
if op == 'giveup' or op == 'counted' and is.counting == me then redis.call('HDEL', key, 'counting') end
if op == 'giveup' then return 'unknown 0 0 0 0 true' end
if op == 'know' and not (counting and is.counting ~= me) and (not is.counted or is.stale or others == 0 and now - is.counted > tonumber(ARGV[14])) then
	redis.call('HSET', key, 'counting', me, 'bytes0', is.bytes or 0, 'files0', is.files or 0, 'idle0', text(idle, idleFiles))
	redis.call('PEXPIRE', key, ARGV[15])
	return 'count 0 0 0 0 true'
end

local used, reserved
if op == 'counted' and is.counting == me then
	-- What others added meanwhile, or had reserved, may have been seen or not: it counts as not seen.
	local ib, inf = is.idle0:match('(%S+) (%S+)')
	local db, df = ib + (is.bytes or 0) - is.bytes0, inf + (is.files or 0) - is.files0
	used = {n[1] + db, n[2] + df}
	if is.counted and (db ~= 0 or df ~= 0) then used = {math.min(used[1], is.bytes), math.min(used[2], is.files)} end
	is.stale = nil
	redis.call('HDEL', key, 'stale')
	redis.call('HSET', key, 'counted', now)
	reserved = added
elseif not is.counted then
	return op == 'know' and 'busy 0 0 0 0 true' or 'unknown 0 0 0 0 true'
else
	used = {tonumber(is.bytes), tonumber(is.files)}
	if is[mine] then
		local rb, rf = is[mine]:match('(%S+) (%S+)')
		reserved = {tonumber(rb), tonumber(rf)}
	else
		reserved = {math.min(heard[1], added[1]), math.min(heard[2], added[2])}
		if heard[1] ~= added[1] or heard[2] ~= added[2] then -- who measured has perhaps seen what was added
			redis.call('HSET', key, 'stale', 1)
			is.stale = '1'
		end
	end
end

local answer, wants = 'ok', added
if op == 'reserve' then
	wants = {}
	local idles = {idle, idleFiles}
	for i = 1, 2 do
		local limit, piece = tonumber(ARGV[9 + i]), tonumber(ARGV[11 + i])
		local free = limit - (used[i] - reserved[i]) - added[i] - n[i]
		if limit == 0 or n[i] <= 0 then
			free = math.huge
		elseif free < 0 then
			answer = (answer ~= 'full' and free + idles[i] >= 0) and 'wait' or 'full'
		end
		wants[i] = math.max(reserved[i], added[i] + n[i] + (n[i] > 0 and math.max(math.min(piece, math.floor(free / 4)), 0) or 0))
	end
	if answer == 'wait' then redis.call('PUBLISH', prefix, cjson.encode({settle = ARGV[1]})) end
	if answer ~= 'ok' then wants = reserved end
end
for i = 1, 2 do used[i] = used[i] - reserved[i] + wants[i] end
redis.call('HSET', key, 'bytes', text(used[1]), 'files', text(used[2]))
if op == 'leave' then
	redis.call('HDEL', key, mine)
else
	redis.call('HSET', key, mine, text(wants[1], wants[2], added[1], added[2]))
end
redis.call('PEXPIRE', key, ARGV[15])
return answer .. ' ' .. text(wants[1], wants[2], used[1], used[2]) .. ' ' .. tostring(is.stale ~= nil)
`)
