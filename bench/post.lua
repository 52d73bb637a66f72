-- For wrk -t1: posts so many bodies of sessions, each once, then ends and prints what came of it as JSON.
--
-- Arguments: a file, whose lines are sessions without their first field (ids are made here, so that no two are equal);
-- records in a body, 0 for one object that stands alone; how many bodies; what ids begin with.

local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int pid, int signal);")
local SIGINT = 2

local rests, records, bodies, prefix = {}
local id, made, permitted, answered = 0, 0, 0, 0

function init(args)
   for line in io.lines(args[1]) do
      rests[#rests + 1] = line
   end
   records, bodies, prefix = tonumber(args[2]), tonumber(args[3]), args[4]
   made, permitted = -1, bodies -- wrk asks for one body to look at, which it does not send
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
   wrk.headers["Authorization"] = os.getenv("AUTHORIZATION")
end

local function record()
   id = id + 1
   return '{"session_id":"' .. prefix .. id .. rests[id % #rests + 1]
end

function request()
   made = made + 1
   if made > bodies then
      return "P" -- a connection that the server closed and wrk opened again asks past delay(): no whole request
   elseif records == 0 then
      return wrk.format(nil, nil, nil, record())
   end
   local list = {}
   for i = 1, records do
      list[i] = record()
   end
   return wrk.format(nil, nil, nil, "[" .. table.concat(list, ",") .. "]")
end

function delay() -- asked before each request, in milliseconds: there is no other way to send no more
   permitted = permitted - 1
   return permitted >= 0 and 0 or 3600000
end

function response()
   answered = answered + 1
   if answered == bodies then
      ffi.C.kill(ffi.C.getpid(), SIGINT)
   end
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"answered": %d, "failed": %d, "seconds": %f, "p50": %f, "p99": %f}\n',
      summary.requests, errors.status + errors.connect + errors.timeout, summary.duration / 1e6,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
   ))
end
