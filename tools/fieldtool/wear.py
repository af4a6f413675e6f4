"""`wear`: how long a meter's flash lasts, by the very figures that the firmware uses (meterlink.flashmap)."""

from fieldtool import values
from fieldtool.session import DONE, NOT_SO
from fieldtool.words import WEAR_COLUMNS, Words
from meterlink import flashmap


def wear(words: Words, minutes: int) -> int:
    """Print the budget at each load; NOT_SO where flash lasts for less than is promised."""
    enough = True
    for load, wh_a_day in flashmap.LOADS:
        found = flashmap.regions(wh_a_day, minutes)
        rows = [[words.column(name) for name in WEAR_COLUMNS]]
        for one in found:
            last = one.first + one.sectors - 1
            numbers = (one.records, one.bytes, one.a_year, one.years())
            rows.append([words.code("region", one.name), f"{one.first}-{last}", *map(str, numbers)])
        least = min(one.years() for one in found)
        print(
            words.say(
                "wear_load",
                load=words.code("load", load),
                energy=values.decimal(wh_a_day, -3),
                minutes=minutes,
                cycles=flashmap.ERASE_CYCLES,
            )
        )
        print("\n".join(values.table(rows)))
        fits = least >= flashmap.DESIGN_YEARS
        print(words.say("wear_least" if fits else "wear_less", years=least, design=flashmap.DESIGN_YEARS))
        print()
        enough = enough and fits
    return DONE if enough else NOT_SO
