"""Benchmarks: ``openprepay bench``, one JSON line a figure, each beside a peer where there is one.

Each module but `cli`, `figure`, `upy` and `scene` is one benchmark: `run(seconds) -> Iterator[Figure]` takes about so
long and yields what it measured; less time means fewer rounds and smaller sizes, never other lines. May import
everything.
"""

from openprepay.bench.cli import main

__all__ = ["main"]
