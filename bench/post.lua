-- For wrk -t1: posts so many bodies of sessions, each once, then ends and prints what came of it as JSON.
--
-- Arguments: a file, whose lines are sessions without their first field (ids are made here, so that no two are equal);
-- records in a body, 0 for one object that stands alone; how many bodies; what ids begin with.

local ffi = require("ffi")
ffi.cdef([[
   int getpid(void);
   int kill(int pid, int signal);
   struct timespec { long seconds, nanoseconds; };
   int clock_gettime(int clock, struct timespec *time);
]])
local SIGINT, MONOTONIC = 2, 1

local rests, records, bodies, prefix = {}
local id, made, permitted, answered, began = 0, 0, 0, 0
local threads = {}

local function now()
   local time = ffi.new("struct timespec")
   ffi.C.clock_gettime(MONOTONIC, time)
   return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

function setup(thread)
   threads[1] = thread
end

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
   began = began or now()
   permitted = permitted - 1
   return permitted >= 0 and 0 or 3600000
end

function response()
   answered = answered + 1
   if answered == bodies then
      seconds = now() - began -- for done(); wrk's own clock goes by tenths of a second
      ffi.C.kill(ffi.C.getpid(), SIGINT)
   end
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"answered": %d, "failed": %d, "seconds": %f, "p50": %f, "p99": %f}\n',
      summary.requests, errors.status + errors.connect + errors.timeout, threads[1]:get("seconds"),
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
   ))
end
