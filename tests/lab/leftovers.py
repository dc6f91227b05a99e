"""What may differ between a machine before a relay and the same machine after it, with reasons."""

from tests.lab.snapshot import May

ALWAYS = (
    May(r"(file|content) /var/(log|cache)/(apt|debconf|man|ldconfig)(/.*)?", "apt, debconf, man"),
    May(r"file /var/log/(dpkg\.log|alternatives\.log|lastlog|wtmp\.db|btmp)", "the system's logs"),
    May(r"file /(run|var)/log/journal/[0-9a-f]+(/.*)?", "the system's own journal"),
    May(r"file /(run|var)/log/journal", "the system's own journal"),
    May(r"(file|content) /etc/(passwd|group|shadow|gshadow|subuid|subgid)-?", "compared by line"),
    May(r"(file|content) /etc/\.pwd\.lock", "the lock of those"),
    May(r"(file|content) /etc/ld\.so\.cache", "written anew by each installation"),
    May(r"(file|content) /var/lib/(systemd/(random-seed|timers|timesync)|ucf)(/.*)?", "systemd's"),
    May(r"(file|content) /var/(lib|spool)/postfix/(pid/.*|master\.lock|prng_exch)", "Postfix's"),
    May(r"(file|content) /var/lib/postfix/.*_(scache|cache)\.(db|lmdb)", "Postfix's caches"),
    May(r"file /run/(dovecot|nginx\.pid|opendkim|unbound|lock|utmp|dbus|udev|sudo).*", "daemons'"),
    May(r"file /var/spool/postfix/(public|private|active|incoming|maildrop)/.*", "listeners"),
    May(
        r"(file|content) /(root|usr/lib/python3|usr/share/python3).*__pycache__.*", "Python's cache"
    ),
    May(r"unit (?!.*chatmail)(apt-|dpkg-|man-db|systemd-|e2scrub|fstrim|logrotate).*", "timers"),
    May(r"unit (user|packagekit).*", "started by systemd when needed"),
    May(r"(file|content) /var/lib/dovecot/instances", "Dovecot notes when it was started"),
    May(r"kernel .*", "machines share the kernel with each other: unit tests look at this"),
    May(r"file /var/log/nginx/.*", "nginx's log of our visits"),
    May(r"unit (modprobe@|getty|console|dbus|run-).*", "started by systemd when needed"),
)
"""What differs between any two moments of a machine on which apt runs."""

REMOVED = (
    May(r"package chatmail-relay", "removed is not purged: its settings stay"),
    May(r"(file|content) /etc/chatmail-relay(/(chatmail\.ini|www))?", "the settings"),
    May(r"(file|content) /var/lib/chatmail-relay(/.*)?", "keys, and what was here before"),
    May(r"file /var/lib/chatmail(/.*)?", "mail and accounts"),
    May(r"content /var/lib/chatmail/.*", "mail and accounts"),
    May(r"(file|content) /var/lib/chatmail-metadata(/.*)?", "the accounts' metadata"),
    May(r"(user|group) _chatmail(-.*)?", "owners, locked"),
    May(r"(file|content) /var/lib/systemd/deb-systemd-helper-.*", "whether units start"),
    May(r"file /run/log/journal/[0-9a-f]+\.chatmail(/.*)?", "the last logs, in memory"),
    May(r"file (/run/systemd/journal|/var/log/journal/[0-9a-f]+)\.chatmail", "journald's folders"),
    May(r"(file|content) /etc/bash_completion\.d(/.*)?", "python3-argcomplete's, not purged"),
    May(r"package python3-argcomplete", "removed, not purged"),
)
"""What `apt remove` leaves."""

KEPT = (
    May(r"file /var/lib/chatmail-relay(/(dkim|tls)(/.*)?)?", "the keys"),
    May(r"content /var/lib/chatmail-relay/(dkim|tls)/.*", "the keys"),
    May(r"(file|content) /var/lib/chatmail(/.*)?", "mail and accounts"),
    May(r"(file|content) /var/lib/chatmail-metadata(/.*)?", "the accounts' metadata"),
    May(r"(user|group) _chatmail(-metadata)?", "owners of those"),
)
"""What a purge leaves which nobody was there to ask about."""
