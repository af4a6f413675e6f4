"""In which order messages that wait together are taken."""

from collections.abc import Iterable, Iterator

from meterlink import topics


def waves(said: Iterable[tuple[int, str]]) -> Iterator[tuple[bool, list[int]]]:
    """(whether they are batches of intervals, places in `said`) in turn, of messages (meter, topics.UP_*).

    Batches of intervals of many meters are together, and what one meter said stays in its order.
    """
    said = list(said)
    if all(what == topics.UP_INTERVALS for _, what in said):
        yield True, list(range(len(said)))
        return
    found: list[list[int]] = []
    reached: dict[int, int] = {}
    for place, (meter, what) in enumerate(said):
        wave = reached.get(meter, 0)
        wave += (what == topics.UP_INTERVALS) != (wave % 2 == 0)
        reached[meter] = wave
        while len(found) <= wave:
            found.append([])
        found[wave].append(place)
    for wave, places in enumerate(found):
        if places:
            yield wave % 2 == 0, places
