"""Short names: each name that an image makes up for itself becomes one of one to three letters, the same everywhere.

A `.mpy` file holds every name that it uses, a start interns each of them, and a full name says nothing to a meter. The
texts of the image are renamed after `shake`, all at once; what is renamed stands in a table beside the image, so that
a traceback can be read (`readable`).

Not renamed: names of modules and packages; what comes from outside the image (what the interpreter's own types have,
as it tells itself; whatever a file that handles hardware asks of an object); names of an entry module, which others
start; names with two underscores. What a class asks of itself alone may have a name that unrelated classes use as well,
and so may names of modules that do not know each other. A parameter that no call names is told by its place: its name
becomes one that every MicroPython has in flash. Other local names are not in a `.mpy` at all.
"""

import itertools
import json
import keyword
import re
import string
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from metersim.rename import Rename
from metersim.scopes import top_names
from metersim.shake import Trees
from metersim.survey import FREE, PLACES, Survey


class Table(NamedTuple):
    """What was renamed. attributes: name -> short name, of attributes and of parameters that calls name · own: module
    -> attributes that its classes ask of themselves alone -> short names · globals: module -> its names -> short names
    · files: module -> the name that a traceback has for its file."""

    attributes: dict[str, str]
    own: dict[str, dict[str, str]]
    globals: dict[str, dict[str, str]]
    files: dict[str, str]

    def pack(self) -> str:
        """As JSON."""
        return json.dumps(self._asdict(), indent=0)

    @classmethod
    def unpack(cls, text: str) -> "Table":
        """Of what `pack` made."""
        return cls(**json.loads(text))


def shorten(trees: Trees, entries: Iterable[str], outside: Iterable[str]) -> Table:
    """Rename in place.

    entries: modules whose own names stay · outside: attributes of the interpreter's own types.
    """
    kept = {name for entry in entries for node in trees[entry].body for name in top_names(node)}
    survey = Survey(trees, kept | set(outside))
    free = [name for name in (*FREE, *PLACES) if name not in survey.made]
    new = itertools.chain(free, _names(survey.taken()))
    choice = _Choice(survey, dict(zip(survey.by_use(), new, strict=False)), new)
    attributes = choice.private()
    chosen = choice.globals()
    for module, tree in trees.items():
        Rename(module, tree, trees, attributes, chosen, survey).visit(tree)
    public = {name: short for name, short in attributes.items() if name not in survey.families}
    own = {
        module: {name: attributes[name] for name in sorted(found & set(survey.families))}
        for module, found in survey.found.items()
    }
    return Table(public, own, chosen, choice.files())


def readable(text: str, table: Table) -> str:
    """A traceback or a message of an exception with the names that the sources have; where a short name stands for
    several, all of them."""
    files = {short: name for name, short in table.files.items()}
    long: dict[str, list[str]] = {}
    for names in (table.attributes, *table.own.values(), *table.globals.values()):
        for name, short in names.items():
            if name not in long.setdefault(short, []):
                long[short].append(name)

    def of(short: str) -> str:
        return "|".join(long.get(short, [short]))

    def traced(match: re.Match[str]) -> str:
        module = files.get(match[1], match[1])
        known = (table.globals.get(module, {}), table.own.get(module, {}), table.attributes)
        names = [name for one in known for name, short in one.items() if short == match[3]]
        return f'File "{module}", line {match[2]}, in {"|".join(names) or match[3]}'

    text = re.sub(r'File "([\w.]+)", line (\d+), in (\w+)', traced, text)
    for place in (r"(?m)(?:(?<=^)|(?<=: ))(\w+)(?=:)", r"(?<=has no attribute ')(\w+)", r"(?<=name ')(\w+)"):
        text = re.sub(place, lambda match: of(match[1]), text)
    return re.sub(r"(?<=')(\w+)(?=' object)", lambda match: of(match[1]), text)


class _Choice:
    """Chooses the short names that need not differ from all others, so that most of their files have them already.

    Names of modules: two of them may be the same where no module holds both; and one may be that of an attribute.
    Attributes that a class asks of itself alone: two of them may be the same where no object has both.
    """

    def __init__(self, survey: Survey, attributes: dict[str, str], new: Iterator[str]) -> None:
        self._survey = survey
        self._attributes = attributes
        self._new = new
        self._has = {  # file -> strings in it
            module: {attributes.get(name, name) for name in found - set(survey.families)} | set(PLACES[:3])
            for module, found in survey.found.items()
        }
        self._known = list(attributes.values())

    def private(self) -> dict[str, str]:
        """All attributes -> short names, those that classes ask of themselves with them."""
        survey = self._survey
        anywhere = {self._attributes.get(name, name) for name in survey.anywhere}
        taken = {
            family: anywhere | {self._attributes.get(name, name) for name in names - set(survey.families)}
            for family, names in survey.family_names.items()
        }
        for name in sorted(survey.families, key=lambda one: (-len(survey.families[one]), one)):
            files = {module for module, found in survey.found.items() if name in found}
            held = [taken[family] for family in survey.families[name]]
            self._attributes[name] = self._best(files, held)
        return self._attributes

    def globals(self) -> dict[str, dict[str, str]]:
        """Module -> names that are its own -> short names."""
        survey = self._survey
        chosen: dict[str, dict[str, str]] = {module: {} for module in survey.globals}
        taken = {}
        for module in survey.globals:
            hidden = survey.members[module] | (survey.parameters[module] & survey.named)
            taken[module] = {self._attributes.get(name, name) for name in hidden}
        for module, name in sorted(
            survey.uses, key=lambda one: (-len(survey.uses[one]), -len(survey.holders[one]), one)
        ):
            held = [taken[file] for file in survey.holders[module, name]]
            chosen[module][name] = self._best(survey.uses[module, name], held)
        return chosen

    def files(self) -> dict[str, str]:
        """Module -> a name of its file, one that it has in it."""
        found: dict[str, str] = {}
        for module, has in sorted(self._has.items()):
            known = (name for name in self._known if name in has and name not in found.values())
            found[module] = next(known, "") or next(self._new)
        return found

    def _best(self, files: set[str], held: list[set[str]]) -> str:
        """A name for something that `files` speak of, and that none of the sets `held` has; they have it then."""
        best, best_cost = "", 1 << 30
        for name in self._known:
            if not any(name in one for one in held):
                missing = sum(name not in self._has[file] for file in files)
                cost = missing * (2 if name in FREE or name in PLACES else len(name) + 2)
                if cost < best_cost:
                    best, best_cost = name, cost
                    if not cost:
                        break
        if best_cost > 4 * len(files):
            best = next(self._new)
            self._known.append(best)
        for file in files:
            self._has[file].add(best)
        for one in held:
            one.add(best)
        return best


def _names(taken: set[str]) -> Iterator[str]:
    letters = string.ascii_letters
    for length in itertools.count(1):
        for first in letters:
            for rest in itertools.product(letters + string.digits, repeat=length - 1):
                name = first + "".join(rest)
                if name not in taken and not keyword.iskeyword(name):
                    yield name
