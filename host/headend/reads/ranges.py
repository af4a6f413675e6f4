"""Ranges of sequence numbers, both ends included; lists of them are in rising order and do not overlap."""

from collections.abc import Iterable, Sequence

Range = tuple[int, int]


def of_numbers(numbers: Sequence[int]) -> list[Range]:
    """The runs of rising numbers."""
    if not numbers:
        return []
    first, last = numbers[0], numbers[-1]
    if last - first + 1 == len(numbers):
        return [(first, last)]
    return joined((one, one) for one in numbers)


def joined(found: Iterable[Range]) -> list[Range]:
    """What these cover together: those that overlap or touch are one. They may come in any order."""
    made: list[Range] = []
    for first, last in sorted(found):
        if made and first <= made[-1][1] + 1:
            made[-1] = made[-1][0], max(made[-1][1], last)
        else:
            made.append((first, last))
    return made


def minus(whole: Iterable[Range], without: Sequence[Range]) -> list[Range]:
    """What of `whole` is not in `without`."""
    left: list[Range] = []
    for first, last in whole:
        for low, high in without:
            if high < first or low > last:
                continue
            if low > first:
                left.append((first, low - 1))
            first = high + 1
        if first <= last:
            left.append((first, last))
    return left
