"""Moving a relay: taking over one that was deployed from upstream's git, backup and restore.

What moves is the settings, the key that signs mail, the accounts at certificate authorities with
their certificates, and of each user the password with the day of the last login, the mail, and the
tokens of the devices. `chatmail-relay import`, `backup` and `restore`.
"""
