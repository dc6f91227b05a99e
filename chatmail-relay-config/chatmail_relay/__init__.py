"""chatmail-relay's configurator: settings, plan, apply, and the `chatmail-relay` command."""
