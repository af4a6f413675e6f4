"""What a person or a monitor wants to see of a running head end: figures, logs, exceptions. Reads alone.

`figures.py` is one look at the database, `tail.py` follows orders and payments as they move, `metrics.py` gives both to
Prometheus, `exceptions.py` lists what wants a person, `logs.py` and `systemd.py` speak to the machine that it runs on.
"""
