-- Made by `chatmail-relay apply` from /etc/chatmail-relay/chatmail.ini; edits are lost.
--
-- Dovecot's passdb and userdb, https://doc.dovecot.org/2.4.1/core/config/auth/databases/lua.html.
-- It runs in auth-worker processes as the owner of the mail, so what it waits for holds up one
-- login, not all. doveauth is asked only about users that do not exist.
--
-- Dovecot 2.4 wants a table with RESULT_OK, and 2.3 a string with each failure.

local unix = require "socket.unix"

local DOMAIN = "chat.example.org"
local DOMAIN_DIR = "/var/lib/chatmail/mail/chat.example.org"
local DOVEAUTH = "/run/chatmail/doveauth/auth.sock"
local LASTLOGIN = "/run/chatmail/lastlogin/dict.sock"
local PASSWORD_MAX = 512 -- bytes
local CREATE_TIMEOUT = 5 -- seconds
local SEEN_TIMEOUT = 1 -- seconds
local ENOENT = 2
local DAY = 86400 -- seconds

local auth = dovecot.auth

-- The directory of an address, or nil when it cannot be one of ours.
-- Nothing but these characters ever becomes part of a path.
local function directory_of(user)
  if type(user) ~= "string" or #user > 254 then return nil end
  local localpart, domain = user:match("^([a-z0-9._-]+)@([^@]+)$")
  if not localpart or domain ~= DOMAIN then return nil end
  return DOMAIN_DIR .. "/" .. user
end

-- The stored hash; "" when the user is blocked; nil, true when there is no such user;
-- nil, false when that cannot be known now (then nobody may be created).
local function stored_hash(directory, name)
  local file, _, errno = io.open(directory .. "/" .. (name or "password"), "r")
  if not file then return nil, errno == ENOENT end
  local line, _, read_errno = file:read("l")
  file:close()
  if not line and read_errno then return nil, false end
  return line or ""
end

local function connect(path, timeout)
  local sock = (type(unix) == "table" and unix.stream or unix)()
  sock:settimeout(timeout)
  if sock:connect(path) then return sock end
  sock:close()
  return nil
end

-- One request to doveauth, one answer line; nil when it does not answer.
local function ask(...)
  local sock = connect(DOVEAUTH, CREATE_TIMEOUT)
  if not sock then return nil end
  local answer
  if sock:send(table.concat({...}, "\t") .. "\n") then answer = sock:receive("*l") end
  sock:close()
  return answer
end

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function verify(request, hash, password)
  if hash == "" then return auth.PASSDB_RESULT_USER_DISABLED, "blocked" end
  -- returns 1, 0 or -1, and 0 is true in Lua
  if request:password_verify(hash, password) == 1 then return auth.PASSDB_RESULT_OK, {} end
  return auth.PASSDB_RESULT_PASSWORD_MISMATCH, "password mismatch"
end

-- 2.3 calls it rip.
local function client_address(request)
  return request.remote_ip or request.rip or ""
end

local function create(request, password, directory)
  local answer = ask("create", request.user, hex(password), client_address(request))
  if answer == "ok" then return auth.PASSDB_RESULT_OK, {} end
  if answer == "exists" then -- another login made it meanwhile
    local hash = stored_hash(directory)
    if hash then return verify(request, hash, password) end
  end
  local reason = answer and answer:match("^refused\t(.*)$")
  if reason then return auth.PASSDB_RESULT_PASSWORD_MISMATCH, reason end
  reason = answer and answer:match("^later\t(.*)$")
  return auth.PASSDB_RESULT_INTERNAL_FAILURE, reason or "doveauth does not answer"
end

-- Dovecot logs that a login failed, but not why; what doveauth refuses it logs itself.
local function refuse(request, result, reason)
  request:log_info("refused: " .. reason)
  return result, reason
end

local function authenticate(request, password)
  local directory = directory_of(request.user)
  if not directory then
    return refuse(request, auth.PASSDB_RESULT_USER_UNKNOWN, "not an address of this relay")
  end
  if #password > PASSWORD_MAX then
    local reason = "the password has more than " .. PASSWORD_MAX .. " bytes"
    return refuse(request, auth.PASSDB_RESULT_PASSWORD_MISMATCH, reason)
  end
  local hash, absent = stored_hash(directory)
  if hash then return verify(request, hash, password) end
  if absent then return create(request, password, directory) end
  return auth.PASSDB_RESULT_INTERNAL_FAILURE, "cannot read the password file"
end

-- Addresses whose submission login this worker has reported on the day `seen_day`.
local seen, seen_day = {}, nil

-- A submission login is a login too, but Dovecot's last_login plugin only knows those of IMAP:
-- tell lastlogin as that plugin does, in the dict protocol. A failure costs a day's mark at most.
local function report_login(request)
  if (request.protocol or request.service) == "imap" then return end -- 2.3: service
  local now = os.time()
  local day = now // DAY
  if day ~= seen_day then seen, seen_day = {}, day end
  if seen[request.user] then return end
  local sock = connect(LASTLOGIN, SEEN_TIMEOUT)
  if not sock then return end
  local user = request.user
  local lines = {
    "H4\t0\t0\t\tlastlogin",
    "B1\t" .. user .. "\t0",
    "S1\tshared/last-login/" .. user .. "\t" .. now,
    "C1",
    "",
  }
  if sock:send(table.concat(lines, "\n")) and (sock:receive("*l") or ""):sub(1, 1) == "O" then
    seen[user] = true
  end
  sock:close()
end

function auth_password_verify(request, password)
  local result, detail = authenticate(request, password)
  if result == auth.PASSDB_RESULT_OK then report_login(request) end
  return result, detail
end

function auth_userdb_lookup(request)
  local directory = directory_of(request.user)
  if not directory then return auth.USERDB_RESULT_USER_UNKNOWN, "not an address of this relay" end
  local hash, absent = stored_hash(directory)
  -- A user who is about to be deleted, having been away for long, has mail until then. A login gives
  -- the file its name again.
  if absent then hash, absent = stored_hash(directory, "password.leaving") end
  if absent then hash, absent = stored_hash(directory) end
  if hash then
    return auth.USERDB_RESULT_OK, { home = directory, uid = "_chatmail", gid = "_chatmail" }
  end
  if absent then return auth.USERDB_RESULT_USER_UNKNOWN, "no such user" end
  return auth.USERDB_RESULT_INTERNAL_FAILURE, "cannot read the password file"
end

-- doveadm -A: Lua cannot list a directory, doveauth can.
function auth_userdb_iterate()
  local users = {}
  for user in (ask("list") or ""):gmatch("%S+") do users[#users + 1] = user end
  return users
end
