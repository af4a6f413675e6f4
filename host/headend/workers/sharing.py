"""Who of several takes which of a fixed set of numbers: evenly, the same answer everywhere, few moves when one comes
or goes.

Rendezvous hashing (Thaler and Ravishankar, 1998) ranks the workers for each number; a number goes to the first in its
rank who has room, where room is an even share. Whoever looks at the same workers comes to the same plan.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache


def plan(numbers: Iterable[int], workers: Collection[str]) -> dict[int, str]:
    """Number -> worker; nothing where there is nobody. No worker has more than one number above another's."""
    return dict(_planned(tuple(sorted(numbers)), tuple(sorted(workers))))


@lru_cache(16)
def _planned(todo: tuple[int, ...], names: tuple[str, ...]) -> dict[int, str]:
    if not names:
        return {}
    least, over = divmod(len(todo), len(names))
    held: Counter[str] = Counter()
    found: dict[int, str] = {}
    for number in todo:
        for name in sorted(names, key=lambda one: _rank(number, one)):
            room = least + (over > 0)
            if held[name] < room:
                found[number] = name
                held[name] += 1
                over -= held[name] > least
                break
    return found


def _rank(number: int, name: str) -> bytes:
    return hashlib.blake2b(f"{number}:{name}".encode(), digest_size=8).digest()
