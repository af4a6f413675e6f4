"""How every command of `openprepay` reads its arguments and settings, and says why it did nothing."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from headend.refusals import Refused
from headend.settings import BadSettings, Settings


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str],
    act: Callable[[argparse.Namespace], int | None],
    *refusals: type[Exception],
) -> int:
    """What `act(given)` returns, 0 for None; 1 where it raises Refused, BadSettings or one of `refusals`, which is
    told on standard error; 2 where the arguments are wrong, which `parser` has told, and 0 for --help."""
    try:
        given = parser.parse_args(argv)
    except SystemExit as ended:
        return int(ended.code or 0)
    expected: tuple[type[Exception], ...] = (Refused, BadSettings, *refusals)
    try:
        return act(given) or 0
    except expected as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


def settings_of(given: argparse.Namespace) -> Settings:
    """Those of the file that `--config` names, or of OPENPREPAY_CONFIG; raises BadSettings."""
    return Settings.load(given.config, os.environ)
