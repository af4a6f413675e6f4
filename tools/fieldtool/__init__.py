"""`openprepay field`: one meter on the spot, over a serial line, a pty, a serial server or Modbus TCP.

`cli` reads the command line; each sub-command has a file of its own; every word for people stands in `words`. The tool
holds no key and signs nothing: orders come signed from the head end, and what the meter proves can be checked where its
key is at hand. May import `headend.links` and `meterlink`.
"""
