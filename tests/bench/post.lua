-- wrk sends the request in the file named after `--`, byte for byte. Its own headers
-- would come in any order and with other names than an SDK's.
local raw

function init(args)
  local file = assert(io.open(args[1], "rb"))
  raw = file:read("*a")
  file:close()
end

function request()
  return raw
end
