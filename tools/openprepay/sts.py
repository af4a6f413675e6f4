"""``openprepay sts``: issue, read and key typed tokens (20 digits, EA11 with DKGA04).

Output is made for pipes: digits alone, a token a line, a key in hex, or one JSON object. Whatever holds a key can be
given as @FILE too, so that it stands in no list of processes.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from meterlink import names
from meterlink.sts import fields, issue
from meterlink.sts.dkga04 import BASES, DECODER_KEY_LENGTH, VENDING_KEY_LENGTH, FieldError, KeyAttributes, derive
from meterlink.sts.token import DISPLAY, KEY_SECTIONS, MANAGE, TokenError, decode

_MAX_KEY_FILE = 1000

_EXAMPLE_KEY = (
    "--vending-key @vending.hex --pan 600727000000000009 --sgc 123457 --ti 01 --kt 2 --krn 1 --ken 255 --base 2014"
)

# Option names of the fields that the format knows under another name.
_OPTION = {"issued": "issued", "maker": "mfr", "vending_key": "vending-key"}


def main(argv: list[str]) -> int:
    """0 when done, 1 where a value is refused (a sentence on stderr names option, value and expectation), 2 for a wrong
    command line."""
    parser = _parser()
    try:
        given = parser.parse_args(argv)
    except SystemExit as ended:
        return int(ended.code or 0)
    run: Callable[[argparse.Namespace], int] = given.run
    try:
        return run(given)
    except FieldError as refused:
        name = _OPTION.get(refused.field, refused.field)
        return _refuse(f"{given.command}: --{name}: {refused.value} given, {refused.expected} expected")


def _issue(given: argparse.Namespace) -> int:
    """Print a token of 20 digits."""
    if given.token_class == DISPLAY:
        wanted: tuple[str, ...] = ("control", "mfr")
        unwanted: tuple[str, ...] = ("units", "register")
    else:
        wanted = ("vending_key", "pan", "sgc", "ti", "kt", "krn", "base", "issued")
        unwanted = ("control", "mfr")
    fault = _presence(given, wanted, unwanted)
    if fault or given.token_class == DISPLAY:
        if fault:
            return _wrong(given, fault)
        print(issue.display(given.subclass, given.control, given.mfr))
        return 0
    attributes = _attributes(given)
    tid = _tid(given.base, given.issued)
    issue.check_expiry(tid, attributes.ken)
    register = given.register if given.units is None else _register(given.token_class, given.subclass, given.units)
    if register is None:
        return _wrong(given, "one of --units and --register is needed")
    rnd = os.urandom(1)[0] & 15 if given.rnd is None else given.rnd
    key = derive(given.vending_key, attributes)
    print(issue.once(key, given.token_class, given.subclass, rnd, tid, register, given.experimental_currency))
    return 0


def _keychange(given: argparse.Namespace) -> int:
    """Print the tokens of a key change, one a line, in section order."""
    fault = _presence(given, _KEY_OPTIONS, ())
    if fault:
        return _wrong(given, fault)
    old = _attributes(given)
    try:
        new = KeyAttributes(
            given.pan,
            *(_newer(given, name) for name in ("sgc", "ti", "kt", "krn", "base", "ken")),
        )
    except FieldError as refused:
        raise FieldError("new-" + refused.field, refused.value, refused.expected) from None
    old_key = derive(given.vending_key, old)
    new_key = derive(given.new_vending_key or given.vending_key, new)
    print("\n".join(issue.key_change(old_key, new_key, new, given.rollover, given.sections)))
    return 0


def _decode(given: argparse.Namespace) -> int:
    """Print what a token says, as one JSON object."""
    digits = "".join(given.token).replace(" ", "").replace("-", "")
    clear = len(digits) == 20 and digits.isascii() and digits.isdigit() and int(digits) >> 27 & 3 == DISPLAY
    if given.key is None and not clear:
        return _wrong(given, "--key is needed: only a token of class 1 is clear")
    try:
        token = decode(given.key or b"", digits)
    except TokenError as error:
        return _refuse(f"decode: TOKEN: {names.of(names.TYPED, error.code)}: 20 digits made under this key expected")
    found = fields.describe(token, given.base)
    if token.token_class == MANAGE and token.subclass in KEY_SECTIONS:
        found["new_key_part"] = f"{token.data & 0xFFFFFFFF:08x}"
    print(json.dumps(found))
    return 0


def _derive(given: argparse.Namespace) -> int:
    """Print the decoder key, 32 hexadecimal digits."""
    fault = _presence(given, _KEY_OPTIONS, ())
    if fault:
        return _wrong(given, fault)
    print(derive(given.vending_key, _attributes(given)).hex())
    return 0


def _attributes(given: argparse.Namespace) -> KeyAttributes:
    return KeyAttributes(given.pan, given.sgc, given.ti, given.kt, given.krn, given.base, given.ken)


def _newer(given: argparse.Namespace, name: str) -> int:
    """An attribute of the new key: as told, else the old one's."""
    new: int | None = getattr(given, f"new_{name}")
    old: int = getattr(given, name)
    return old if new is None else new


def _register(token_class: int, subclass: int, units: int) -> int:
    """The register for --units: an amount where the subclass has a unit, else the number itself."""
    if fields.unit(token_class, subclass):
        return issue.register_of(units)
    if not 0 <= units <= 0xFFFF:
        raise FieldError("units", units, "0..65535 (a plain number in this subclass)")
    return units


def _tid(base: int, issued: datetime) -> int:
    try:
        return issue.tid_of(base, int(issued.timestamp()))
    except FieldError:
        first, last = (datetime.fromtimestamp(issue.issued_s(base, tid), UTC) for tid in (0, 0xFFFFFF))
        held = f"a time that base {base} holds, {first:%Y-%m-%dT%H:%M}..{last:%Y-%m-%dT%H:%M} UTC,"
        raise FieldError("issued", issued.isoformat(), held) from None


def _presence(given: argparse.Namespace, wanted: tuple[str, ...], unwanted: tuple[str, ...]) -> str:
    """What is wrong about which options are there; empty when nothing is."""
    missing = [_flag(name) for name in wanted if getattr(given, name) is None]
    if missing:
        return f"needed and not given: {', '.join(missing)}"
    surplus = [_flag(name) for name in unwanted if getattr(given, name) is not None]
    return f"not for this class: {', '.join(surplus)}" if surplus else ""


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _wrong(given: argparse.Namespace, sentence: str) -> int:
    print(
        f"openprepay sts {given.command}: {sentence}; openprepay sts {given.command} --help tells more", file=sys.stderr
    )
    return 2


def _refuse(sentence: str) -> int:
    print(f"openprepay sts {sentence}", file=sys.stderr)
    return 1


def _secret(length: int) -> Callable[[str], bytes]:
    """A parser of a key of `length` bytes in hex, or of the file that holds it; the value is never repeated."""

    def parse(text: str) -> bytes:
        expected = f"{2 * length} hexadecimal digits, or @FILE with them, expected"
        if text.startswith("@"):
            try:
                with Path(text[1:]).open(encoding="ascii") as file:
                    text = file.read(_MAX_KEY_FILE).strip()
            except (OSError, UnicodeDecodeError):
                raise argparse.ArgumentTypeError(f"{text} cannot be read; {expected}") from None
        if not re.fullmatch(f"[0-9a-fA-F]{{{2 * length}}}", text):
            raise argparse.ArgumentTypeError(f"a value of {len(text)} characters given; {expected}")
        return bytes.fromhex(text)

    return parse


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} given, a whole number expected")
    return int(text)


def _hex(most_digits: int, exact: bool = False) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(f"[0-9a-fA-F]{{{most_digits if exact else 1},{most_digits}}}", text):
            how_many = f"{most_digits}" if exact else f"up to {most_digits}"
            raise argparse.ArgumentTypeError(f"{text!r} given, {how_many} hexadecimal digits expected")
        return int(text, 16)

    return parse


def _time(text: str) -> datetime:
    """A time of ISO 8601; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        expected = "a time of ISO 8601 such as 2026-03-01T13:00:00 expected"
        raise argparse.ArgumentTypeError(f"{text!r} given, {expected}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


_KEY_OPTIONS = ("vending_key", "pan", "sgc", "ti", "kt", "krn", "base")


def _key_options() -> argparse.ArgumentParser:
    """What a decoder key is bound to; `_presence` tells what is missing, since class 1 needs none of it."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument(
        "--vending-key", type=_secret(VENDING_KEY_LENGTH), metavar="HEX", help="20 bytes in hex, or @FILE"
    )
    made.add_argument("--pan", metavar="PAN18", help="the meter: 18 digits, the last a check digit")
    made.add_argument("--sgc", type=_number, metavar="N", help="supply group code, up to 6 digits")
    made.add_argument("--ti", type=_number, metavar="NN", help="tariff index, 00..99")
    made.add_argument("--kt", type=_number, metavar="N", help="key type: 0 initial, 1 default, 2 unique, 3 common")
    made.add_argument("--krn", type=_number, metavar="N", help="key revision number, 1..9")
    made.add_argument("--ken", type=_number, metavar="N", default=255, help="key expiry number, 0..255 (default 255)")
    made.add_argument("--base", type=_number, choices=BASES, help="base date: 1 January of that year")
    return made


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="openprepay sts",
        description="Typed tokens of 20 digits, in the EA11/DKGA04 format of IEC 62055-41 (not certified).",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    keyed = _key_options()

    def command(
        name: str, run: Callable[[argparse.Namespace], int], example: str, parents: tuple[argparse.ArgumentParser, ...]
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            parents=parents,
            help=run.__doc__,
            description=run.__doc__,
            epilog=f"example: openprepay sts {name} {example}",
            allow_abbrev=False,
        )
        made.set_defaults(run=run)
        return made

    one = command(
        "issue",
        _issue,
        f"{_EXAMPLE_KEY} --class 0 --subclass 0 --issued 2026-03-01T13:00:00 --units 255",
        (keyed,),
    )
    one.add_argument("--class", dest="token_class", type=_number, choices=(0, 1, 2), required=True, help="token class")
    one.add_argument("--subclass", type=_number, required=True, metavar="N", help="subclass in the class")
    one.add_argument("--rnd", type=_number, metavar="N", help="random number, 0..15 (default: drawn)")
    one.add_argument("--issued", type=_time, metavar="ISO8601", help="time of issue; without a zone it is UTC")
    amount = one.add_mutually_exclusive_group()
    amount.add_argument(
        "--units",
        type=_number,
        metavar="N",
        help="amount in the subclass's unit: 0.1 kWh, 0.1 m3, 0.1 min or W; a plain number where there is none",
    )
    amount.add_argument("--register", type=_hex(4, exact=True), metavar="HEX4", help="the 16 bits themselves")
    one.add_argument("--control", type=_hex(9), metavar="HEX", help="class 1: control bits (36, or 28 in subclass 1)")
    one.add_argument("--mfr", type=_number, metavar="N", help="class 1: maker's code (8 bits, or 16 in subclass 1)")
    one.add_argument(
        "--experimental-currency",
        action="store_true",
        help="allow class 0 subclasses 4..7: no public known answers exist for them",
    )

    change = command("keychange", _keychange, f"{_EXAMPLE_KEY} --new-ti 02", (keyed,))
    change.add_argument(
        "--new-vending-key", type=_secret(VENDING_KEY_LENGTH), metavar="HEX", help="default: the old one"
    )
    for name, text in (
        ("sgc", "supply group code"),
        ("ti", "tariff index"),
        ("kt", "key type"),
        ("krn", "key revision number"),
        ("ken", "key expiry number"),
    ):
        change.add_argument(f"--new-{name}", type=_number, metavar="N", help=f"new {text} (default: the old one)")
    change.add_argument("--new-base", type=_number, choices=BASES, help="new base date (default: the old one)")
    # A script that hands one set of options to all commands is not told off for what a section does not carry.
    change.add_argument("--rnd", type=_number, metavar="N", help="not used: sections carry no random number")
    change.add_argument("--issued", type=_time, metavar="ISO8601", help="not used: sections carry no time")
    change.add_argument("--rollover", action="store_true", help="the base date rolls over: the meter forgets old TIDs")
    change.add_argument(
        "--sections", type=_number, choices=(2, 4), default=4, help="how many to print (default 4, what EA11 needs)"
    )

    read = command("decode", _decode, "--key @decoder.hex 5938 6323 4721 3742 6967", ())
    read.add_argument(
        "--key", type=_secret(DECODER_KEY_LENGTH), metavar="HEX", help="decoder key, 16 bytes in hex, or @FILE"
    )
    read.add_argument("--base", type=_number, choices=BASES, help="base date: tells the time of issue too")
    read.add_argument("token", nargs="+", metavar="TOKEN", help="20 digits, in groups if you like")

    command("derive", _derive, _EXAMPLE_KEY, (keyed,))
    return parser
