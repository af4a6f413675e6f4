"""`openprepay demo`: a household on prepaid credit, from the first payment to the reconnection, on real parts.

`cli.py` puts the parts together: `broker.py` (Mosquitto or amqtt), `office.py` (the head end's service), `fleet.py`
(meters on MicroPython and CPython), `virtual.py` (the time they share). `steps*.py` are what happens, `story.py` and
`tells.py` how it is waited for and told, `timeline.py` how it is printed and traced, `recheck.py` how a stranger checks
the trace. `faults.py` and `wire.py` break things, so that the steps are seen to notice.
"""

from openprepay.demo.cli import main

__all__ = ("main",)
