"""`chatmail-relay doctor`: proves the relay by using it, and names what is wrong.

`examination` runs the checks, which `checks` lists; each looks at one thing and returns a finding,
which a pure judgement makes of what was seen. What follows from a fault is no fault of its own.
"""
