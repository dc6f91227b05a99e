"""The echo bot of a chatmail relay: `echo@DOMAIN`, which sends back what it is written."""
