-- Made by `chatmail-relay apply` from /etc/chatmail-relay/chatmail.ini; edits are lost.
--
-- Tells chatmail-metadata that a user has new mail from somebody else, for it to notify the user's
-- devices: https://doc.dovecot.org/2.4.1/core/plugins/push_notification_lua.html. It runs in lmtp
-- once the message is in the mailbox, and before the sender has its answer. By then the
-- notification is on disk, unless chatmail-metadata does not say so in time: then mail goes on.
--
-- One file for Dovecot 2.3 and 2.4.

local unix = require "socket.unix"

local METADATA = "/run/chatmail/metadata/push.sock"
local TIMEOUT = 0.25 -- seconds, for each step

local function tell(user)
  local sock = (type(unix) == "table" and unix.stream or unix)()
  sock:settimeout(TIMEOUT)
  if sock:connect(METADATA) and sock:send("new\t" .. user .. "\n") then sock:receive("*l") end
  sock:close()
end

function dovecot_lua_notify_begin_txn(user)
  return user
end

function dovecot_lua_notify_event_message_new(user, event)
  if user.username ~= event.from_address then tell(user.username) end
end

function dovecot_lua_notify_end_txn(context, success)
end
