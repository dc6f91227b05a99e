"""Unit tests, the lab of Debian machines, and the scenarios that run on them."""
