"""Judges upgrades, and takes back those after which the relay does not work.

    apt ──► prepare (a hook before dpkg) ──► remember: good.json, the program, copies of packages
    dpkg ─► prerm, postinst ───────────────► prepare: pending.json, chatmail-upgrade-check.service

    check, once dpkg's lock is free:  prove ── fine ──► remember this one, forget the pending one
                                        │ not fine
      previous configuration ──► previous packages ──► origin held, operator told

What decides is the program as it was before the upgrade, a copy which no package replaces. It asks
the installed one whether the relay works, since only that one knows the settings there are now.
Each step is on disk before it is taken and can be taken twice, so after a loss of power the next
boot goes on with it.
"""
