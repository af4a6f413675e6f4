"""What callers may do has changed: a number that rises, by which caches in this process know that they are stale.

Another process, such as `openprepay admin`, is noticed when what is cached has run out (`web.callers`).
"""

import itertools

_drawn = itertools.count(1)
_count = 0


def happened() -> None:
    """Called by whatever changes a token, a session, a person or a grant, and again once that is committed."""
    global _count  # noqa: PLW0603 - one number for the process is what this is
    _count = next(_drawn)


def count() -> int:
    return _count
