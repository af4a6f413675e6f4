"""The whole system on one clock and one seed: `openprepay sim check --seed N`.

The head end's real core on a database in memory, real firmware in this process, a network that loses, repeats, delays
and reorders, mains that fail, operators and customers that act at random. After every event the invariants are checked;
the seed replays a failure exactly. `system.py` is the world, `network.py` the carrier, `people.py` who acts,
`invariants.py` what must hold, `cli.py` the command.
"""

from openprepay.simcheck.cli import main

__all__ = ("main",)
