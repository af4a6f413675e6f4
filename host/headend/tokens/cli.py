"""`openprepay token`: sell typed tokens, print them again and take them back, for a small utility without a till.

It works on the store, beside a head end that runs or without one. The signer of a running head end makes the digits;
where none runs, this command opens the key store itself.
"""

import argparse
import csv
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from headend import command
from headend.clock import SystemClock
from headend.fleet.meters import get_meter
from headend.keys.place import open_keys
from headend.keys.sealed import KeyFileError
from headend.keys.signer import Signer
from headend.keys.signer_client import SignerClient
from headend.keys.signer_log import LogHeld, SignerLog
from headend.refusals import Refused
from headend.settings import INSIDE, Settings
from headend.store import MONEY, Store, open_store
from headend.tokens import amounts, book, decoder, making, replacing, vending
from headend.tokens.decoder import Decoder
from headend.tokens.making import Maker, NotMade
from headend.web import wire
from meterlink import topics

ACTOR = "operator:command line"
WAIT_S = 30.0  # for the digits that a running head end makes
COLUMNS = ("payment_id", "meter", "energy")

_AGAIN = "after a restore: it may have been sold before; then the token that was made for it is printed again"

Command = Callable[[argparse.Namespace, Settings], int]


def main(argv: list[str]) -> int:
    """Run one sub-command: 0 when it was done, 1 when it, or a line of a batch, was refused, 2 for bad usage."""
    refusals = KeyFileError, NotMade
    return command.run(_parser(), argv, lambda given: given.run(given, command.settings_of(given)), *refusals)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="openprepay token", description="Sell energy as tokens of 20 digits that a customer types at the meter."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Command, name: str, *numbers: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        made.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
        for number in numbers:
            made.add_argument(number)
        return made

    vend = command(_vend, "vend", "meter", "energy")
    vend.add_argument("--channel", required=True, help="who takes the money (openprepay admin channel add)")
    vend.add_argument("--payment", required=True, help="the channel's own id; the same again prints the same token")
    vend.add_argument("--again", action="store_true", help=_AGAIN)
    batch = command(_batch, "batch")
    batch.add_argument("file", type=Path, help=f"CSV with the columns {', '.join(COLUMNS)}")
    batch.add_argument("--channel", required=True, help="who takes the money")
    batch.add_argument("--again", action="store_true", help=_AGAIN)
    command(_reprint, "reprint", "token")
    for run, name in ((_void, "void"), (_replace, "replace")):
        command(run, name, "token").add_argument("--note", default="", help="why, for the token's history")
    command(_list, "list", "meter")
    held = command(_decoder, "decoder", "meter")
    held.add_argument("--sgc", type=int, required=True, help="supply group code, 0..999999")
    held.add_argument("--krn", type=int, default=1, help="key revision number, 1..9 (1)")
    held.add_argument("--ti", type=int, default=1, help="tariff index, 0..99 (1)")
    held.add_argument("--kt", type=int, default=2, help="key type, 0..3 (2: unique)")
    held.add_argument("--ken", type=int, default=255, help="key expiry number, 0..255 (255)")
    held.add_argument("--base", type=int, default=2014, help="base date: 1993, 2014 or 2035 (2014)")
    held.add_argument("--pan", help="18 digits (made from the meter's number)")
    return parser


# --- commands ---------------------------------------------------------------------------------------------------------


def _vend(given: argparse.Namespace, settings: Settings) -> int:
    """Sell ENERGY (kWh, steps of 0.1) for METER, and print its token."""
    with _store(settings) as store:
        row = _sell(store, given.channel, given.payment, given.meter, given.energy, again=given.again)
        (made,) = _made(store, settings, [row.id])
    print(_digits(made))
    return 0


def _batch(given: argparse.Namespace, settings: Settings) -> int:
    """Sell a token for each line of a CSV file; lines that were refused are told, and may be put right and repeated."""
    refused = 0
    with _store(settings) as store:
        sold: list[Row[Any]] = []
        for number, line in _lines(given.file):
            try:
                sold.append(_sell(store, given.channel, *(line[name] for name in COLUMNS), again=given.again))
            except Refused as why:
                refused += 1
                print(f"{given.file}, line {number}: {why}", file=sys.stderr)
        for first in range(0, len(sold), making.AT_A_TIME):
            for row in _made(store, settings, [row.id for row in sold[first : first + making.AT_A_TIME]]):
                meter, energy = topics.meter_name(row.meter), amounts.kwh(row.amount_uc)
                print(f"{row.payment_id}  {meter}  {energy}  {_digits(row)}", flush=True)
    print(f"{len(sold)} sold, {refused} refused", file=sys.stderr)
    return 1 if refused else 0


def _reprint(given: argparse.Namespace, settings: Settings) -> int:
    """Print a token again; its history tells."""
    with _store(settings) as store:
        token_id = _number("token", given.token)
        store.write(_note_reprint, SystemClock().now_s(), token_id).result()
        (made,) = _made(store, settings, [token_id])
    print(_digits(made))
    return 0


def _void(given: argparse.Namespace, settings: Settings) -> int:
    """Take an unused token back, and its payment with it once the meter has stored the token's number."""
    return _take_back(given, settings, replacing.void)


def _replace(given: argparse.Namespace, settings: Settings) -> int:
    """Deliver an unused token over the wire instead."""
    return _take_back(given, settings, replacing.replace)


def _list(given: argparse.Namespace, settings: Settings) -> int:
    """List the newest tokens of a meter, without their digits."""
    with _store(settings) as store:
        rows = store.read(_of_meter, wire.read_meter(given.meter))
    for row in rows:
        worth = amounts.kwh(row.amount_uc) if row.amount_uc else f"class {row._mapping['class']}.{row.subclass}"
        used = f"  typed {wire.utc(row.used_s)}" if row.used_s else ""
        print(f"{row.id:>8}  {wire.utc(row.issued_s)}  {worth:>14}  {row.state:<9}  {row.payment_id or '-'}{used}")
    return 0


def _decoder(given: argparse.Namespace, settings: Settings) -> int:
    """State which decoder key METER holds, as it was provisioned; without it no token can be made."""
    meter = wire.read_meter(given.meter)
    pan = given.pan or decoder.pan_of(meter)
    held = Decoder(pan, given.sgc, given.kt, given.ti, given.krn, given.ken, given.base)
    with _store(settings) as store:
        store.write(decoder.put, meter, held).result()
    print(f"PAN {held.pan}")
    return 0


# --- parts ------------------------------------------------------------------------------------------------------------


def _sell(store: Store, channel: str, payment_id: str, meter: str, energy: str, *, again: bool) -> Row[Any]:
    amount_uc = wire.read_amount("energy", energy)
    sale = (SystemClock().now_s(), channel, payment_id, wire.read_meter(meter), amount_uc)
    row, _ = store.write(partial(vending.vend, again=again), *sale, lane=MONEY).result()
    return row


def _take_back(given: argparse.Namespace, settings: Settings, how: Callable[..., Row[Any]]) -> int:
    with _store(settings) as store:
        what = (SystemClock().now_s(), _number("token", given.token), ACTOR, given.note)
        row = store.write(how, *what, lane=MONEY).result()
    print(f"{row.state}: {book.STATES[row.state]}")
    return 0


def _made(store: Store, settings: Settings, token_ids: Sequence[int]) -> list[Row[Any]]:
    """The tokens with their digits; raises NotMade."""
    with _maker(settings) as maker:
        if maker is not None:
            return making.make_many(store, maker, SystemClock().now_s(), token_ids)
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        rows = [store.read(book.get, token_id) for token_id in token_ids]
        if all(row.state != book.RESERVED for row in rows):
            return rows
        time.sleep(0.2)
    raise NotMade(
        f"The head end that runs has not made it within {WAIT_S:.0f} s. The payment is taken; repeat the same command."
    )


@contextmanager
def _maker(settings: Settings) -> Iterator[Maker | None]:
    """The signer; None where a head end that runs has it inside."""
    if settings.signer != INSIDE:
        client = SignerClient(settings.signer)
        try:
            yield client
        finally:
            client.close()
        return
    try:
        signed = SignerLog(Path(settings.signer_log) if settings.signer_log else None)
    except LogHeld:
        yield None
        return
    try:
        keys = open_keys(settings.keystore, os.environ, settings.passphrase_file)
        yield Signer(keys, signed, SystemClock(), settings.caps())
    finally:
        signed.close()


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, columns) of a CSV file in UTF-8, with or without a byte order mark. Raises Refused."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise Refused("columns", reader.fieldnames, f"{', '.join(COLUMNS)} in the first line")
            for line in reader:
                yield reader.line_num, {name: (line[name] or "").strip() for name in COLUMNS}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refused("file", str(path), f"a CSV file in UTF-8 ({error})") from error


def _number(field: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Refused(field, text, "a whole number")
    return int(text)


def _digits(row: Row[Any]) -> str:
    """In groups of four, as a slip has them; what became of it where it is of no more use."""
    if row.digits is None:
        return f"- ({row.state}: {book.STATES[row.state]})"
    groups = " ".join(row.digits[at : at + 4] for at in range(0, 20, 4))
    return groups if row.state == book.VENDED else f"{groups}  ({row.state}: {book.STATES[row.state]})"


def _note_reprint(conn: Connection, now_s: int, token_id: int) -> None:
    book.record(conn, now_s, book.get(conn, token_id).id, "reprint", ACTOR)


def _of_meter(conn: Connection, meter: int) -> list[Row[Any]]:
    get_meter(conn, meter)
    return book.of_meter(conn, meter)


def _store(settings: Settings) -> Store:
    return open_store(settings.database, inline=True)
