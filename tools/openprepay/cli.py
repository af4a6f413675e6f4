"""The dispatcher behind `openprepay`: finds a sub-command in a table, loads its module, hands over the arguments.

Exit codes: what the sub-command returns; 2 for a wrong command line; 3 when the sub-command or something that it needs
is not installed; 130 after Ctrl-C.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import NamedTuple

USAGE_ERROR = 2
UNAVAILABLE = 3
INTERRUPTED = 130


class Command(NamedTuple):
    """Where a sub-command lives, "module:function" with `function(argv: list[str]) -> int`, and its line of help."""

    target: str
    help: str
    extra: str = ""  # the optional extra of pyproject.toml that brings what it needs


# A key of two words takes precedence over one of one word, so that one sub-command can be spread over packages.
COMMANDS: dict[str, Command] = {
    "demo": Command("openprepay.demo:main", "the whole loop on real parts, from credit to reconnection", "simulator"),
    "serve": Command("headend.cli:serve", "run the head end: HTTP API, signer, MQTT and Modbus links"),
    "worker": Command("headend.workers.cli:main", "do a part of it beside others: collect, dispatch, sign, seal, bill"),
    "sim": Command("metersim.cli:main", "run simulated meters with the real firmware", "simulator"),
    "sim check": Command(
        "openprepay.simcheck:main", "run the whole system on one seed, check its invariants", "simulator"
    ),
    "sim fleet": Command(
        "openprepay.fleetsim.cli:main", "many meters on real carriers, or a day of them counted", "simulator"
    ),
    "field": Command("fieldtool.cli:main", "read and serve one meter over a serial line, a pty or a socket"),
    "admin user": Command("headend.access.cli:main", "people who sign in: the first one, and help at the machine"),
    "admin": Command("headend.cli:admin", "channels and their tokens: who may bring payments and give orders"),
    "token": Command("headend.tokens.cli:main", "sell, print again and take back typed tokens of 20 digits"),
    "fleet": Command("headend.fleet.cli:main", "import and export grid, supply points and meters; what is there"),
    "db": Command("headend.store.cli:main", "back the database up, put it back, look whether it is whole"),
    "readings": Command("headend.reads.cli:main", "interval records: export to Parquet, pack, tell what is stored"),
    "ledger": Command("headend.books.cli:main", "signed heads of the books, day reports, and the verifier"),
    "import": Command("headend.ledger.openings.cli:main", "try an import of opening balances, and propose it"),
    "signer": Command("headend.keys.signer_process:main", "run the signer by itself; check and list its log"),
    "broker": Command("headend.brokers.cli:main", "certificates, access lists and accounts of an MQTT broker"),
    "firmware": Command("metersim.bundle_cli:main", "make an image of the firmware, say what is in one", "simulator"),
    "keys": Command("headend.keys.cli:main", "make, list and rotate keys"),
    "persons": Command("headend.people.cli:main", "the key of personal data; erase for good"),
    "sts": Command("openprepay.sts:main", "issue, read and key typed tokens of 20 digits"),
    "bench": Command("openprepay.bench:main", "measure, one JSON line a figure", "bench"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0
    if arguments[0] in {"-V", "--version"}:
        print("openprepay", version())
        return 0
    for words in (2, 1):
        command = COMMANDS.get(" ".join(arguments[:words]))
        if command is not None and len(arguments) >= words:
            return _run(" ".join(arguments[:words]), command, arguments[words:])
    _complain(f"openprepay has no sub-command {arguments[0]!r}; expected one of: {', '.join(COMMANDS)}.")
    return USAGE_ERROR


def usage() -> str:
    """The text of `openprepay --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: openprepay [--help] [--version] COMMAND ...",
            "",
            "Open prepayment for electricity.",
            "",
            *lines,
            "",
            "openprepay COMMAND --help tells more about one.",
        ]
    )


def version() -> str:
    """The installed version, or a word that says there is none (the sources were put on the path by hand)."""
    try:
        return metadata.version("openprepay")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _run(name: str, command: Command, arguments: list[str]) -> int:
    try:
        function = _load(command.target)
    except ModuleNotFoundError as missing:
        _complain(_why_missing(name, command, missing.name or str(missing)))
        return UNAVAILABLE
    try:
        return function(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _load(target: str) -> Callable[[list[str]], int]:
    module, _, function = target.partition(":")
    loaded: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
    return loaded


def _why_missing(name: str, command: Command, missing: str) -> str:
    module = command.target.partition(":")[0]
    if module == missing or module.startswith(missing + "."):
        return f"openprepay {name} is not part of this version (there is no module {module})."
    extra = f'; pip install "openprepay[{command.extra}]" brings it' if command.extra else ""
    return f"openprepay {name} needs the Python module {missing!r}, which is not installed{extra}."


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
