"""A fleet of simulated meters against the real head end.

`day.py`: a day on a carrier that keeps no promise, in virtual time, counted to the last record. `live.py`: the same
meters on a real broker and behind real Modbus gateways, in time that runs as fast as it is told. `flock.py` is the
meters of one process, `plan.py` the table of what happens, `cli.py` the command `openprepay sim fleet`.
"""
