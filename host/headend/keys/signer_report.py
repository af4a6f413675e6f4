"""What a signer's log says to people: whether its chain holds, what it adds up to, its lines.

Reading needs no lock: a file that is full never changes again, and a last line without its end is left out.
"""

import sys
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from headend.keys import signer_files as files
from headend.keys.sealed import KeyFileError
from headend.keys.signer_books import DAY_S
from headend.keys.signer_lines import FIRST, AnyLine, BeginLine, EvidenceLine, OrderLine, TokenLine, digests
from headend.web import wire
from meterlink import names

GROUPS = ("meter", "day", "channel")


def check(path: Path, by: str | None) -> int:
    """Print what the log adds up to, for each of a group of `GROUPS` where asked; returns 1 where it is not whole."""
    whole, count = FIRST, 0
    kinds: Counter[type] = Counter()
    credit_uc: Counter[str] = Counter()
    refund_uc: Counter[str] = Counter()
    typed_wh: Counter[str] = Counter()
    try:
        for line, chain in _all(path, checked=True):
            whole, count = chain, count + 1
            kinds[type(line)] += 1
            if isinstance(line, OrderLine):
                key = _group(line, by)
                credit_uc[key] += line.increase_uc
                refund_uc[key] += line.refund_increase_uc
            elif isinstance(line, TokenLine):
                typed_wh[_group(line, by)] += line.amount_wh
    except KeyFileError as error:
        print(f"openprepay signer: {error}", file=sys.stderr)
        print(f"Whole up to line {count}, chain {whole.hex()}.")
        return 1
    for key in sorted({*+credit_uc, *+refund_uc, *+typed_wh}) if by else ():
        amounts = f"{wire.amount(credit_uc[key]):>18} credited {wire.amount(refund_uc[key]):>18} refunded"
        print(f"{key:<40} {amounts} {typed_wh[key]:>12} Wh typed")
    print(f"{kinds[OrderLine]} orders, {kinds[TokenLine]} typed tokens, {kinds[EvidenceLine]} read back from meters.")
    credited, refunded = wire.amount(credit_uc.total()), wire.amount(refund_uc.total())
    print(f"Credited {credited}, refunded {refunded}, typed {typed_wh.total()} Wh.")
    print(f"Whole: {count} lines, chain {whole.hex()}.")
    return 0


def show(path: Path, meter: int | None, last: int | None) -> int:
    """Print lines, the oldest first: all, or those of a meter, or the newest `last` of these."""
    found = (line for line, _ in _all(path) if not isinstance(line, BeginLine) and meter in (None, line.meter))
    for line in found if last is None else deque(found, maxlen=last):
        print(_words(line))
    return 0


def _group(line: OrderLine | TokenLine, by: str | None) -> str:
    if by == "meter":
        return f"{line.meter:014}"
    if by == "day":
        return wire.utc(line.at_s // DAY_S * DAY_S)[:10]
    return line.channel if by == "channel" else ""


def _words(line: OrderLine | TokenLine | EvidenceLine) -> str:
    about = f"{wire.utc(line.at_s)} {line.meter:014}"
    if isinstance(line, TokenLine):
        what = f"token {line.token_class}.{line.subclass} tid {line.tid} {line.amount_wh} Wh {line.channel}"
    elif isinstance(line, EvidenceLine):
        what = f"read back, source {line.source} total {wire.amount(line.total_uc)}"
    else:
        what = f"{names.of(names.ASPECT, line.aspect)} {line.selector} account {line.account_epoch}"
        what += f" version {line.signing_epoch}.{line.version}" if line.version else ""
        what += f" total {wire.amount(line.total_uc)} +{wire.amount(line.increase_uc)}" if line.total_uc else ""
        what += f" {line.channel} order {line.order_id}"
    return f"{about} {what} {line.digest[:16]}"


def _all(path: Path, *, checked: bool = False) -> Iterator[tuple[AnyLine, bytes]]:
    """Every line of the log with the chain after it. Raises KeyFileError where it is not whole.

    `checked`: the digests beside full files as well.
    """
    chain = FIRST
    for number in [*range(1, max(files.numbers(path), default=0) + 1), None]:
        found: set[bytes] = set()
        for line, following, _ in files.lines_of(path, number, chain):
            chain = following
            if checked:
                found.update(digests((line,)))
            yield line, chain
        if checked and number is not None and files.index(path, number) != b"".join(sorted(found)):
            raise KeyFileError(f"{files.beside(path, number)}.digests does not fit its lines; delete that file.")
