"""Lines of the signer's log: JSON objects, each chained to the one before it.

A line ends in `chain`: SHA-256 of the previous line's chain (32 bytes, zero before the first) and of all of this line's
text before `,"chain"`. So a line that was changed, taken out or put in is seen by whoever reads on from there.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import msgspec

from headend.keys.sealed import KeyFileError

FIRST = bytes(32)  # the chain before the first line
DIGEST_LENGTH = 8  # of a digest in an index
TORN_BYTES = 1 << 19  # more than one append writes; a line has some 400, and no zero byte

_CHAIN = b',"chain":"'
_END = b'"}\n'
_TAIL_LENGTH = len(_CHAIN) + 64 + len(_END)


class Line(msgspec.Struct, tag_field="kind", gc=False):
    """What all lines are."""


class OrderLine(Line, tag="order", omit_defaults=True):
    """An order that was signed. Money in micro-currency, 0 for all but credit.

    `increase_uc`, `refund_increase_uc`: what it added to the highest totals signed before · `channel`: the actor that
    the head end claims for it · `digest`: of the statement, 64 hexadecimal digits · `recovered`: of an order that sets
    all totals: (source, total, refunded), source 0 for what was earned.
    """

    at_s: int
    order_id: int
    meter: int
    account_epoch: int
    aspect: int
    selector: int
    signing_epoch: int
    version: int
    total_uc: int
    refunded_uc: int
    increase_uc: int
    refund_increase_uc: int
    channel: str
    digest: str
    recovered: tuple[tuple[int, int, int], ...] = ()


class EvidenceLine(Line, tag="evidence"):
    """An order of a closed source, found on a meter with our signature: the source's totals are at least these."""

    at_s: int
    meter: int
    account_epoch: int
    source: int
    total_uc: int
    refunded_uc: int
    digest: str


class TokenLine(Line, tag="token"):
    """A typed token that was made, without its digits: who reads the log cannot type it.

    `tid_s`: the minute that its TID is, seconds since 1970 UTC · `amount_wh`: energy that it gives · `digest`: of all
    that decides the digits.
    """

    at_s: int
    meter: int
    pan: str
    token_class: int
    subclass: int
    tid: int
    tid_s: int
    amount_wh: int
    channel: str
    digest: str


class BeginLine(Line, tag="begin"):
    """The first line of every file but the first: its number, and how many lines stand in those before it."""

    file: int
    lines: int


AnyLine = OrderLine | EvidenceLine | TokenLine | BeginLine

_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], AnyLine] = msgspec.json.Decoder(AnyLine).decode


def link(chain: bytes, lines: Iterable[AnyLine]) -> tuple[bytes, bytes]:
    """The lines as they are written, chained on to `chain`; and the chain after them."""
    written: list[bytes] = []
    for line in lines:
        text = _encode(line)[:-1]
        chain = hashlib.sha256(chain + text).digest()
        written += (text, _CHAIN, chain.hex().encode(), _END)
    return b"".join(written), chain


def unlink(chain: bytes, raw: bytes, where: str) -> tuple[AnyLine, bytes]:
    """A written line, and the chain after it; raises KeyFileError where it does not follow. `where` is for people."""
    text = raw[:-_TAIL_LENGTH]
    following = hashlib.sha256(chain + text).digest()
    if raw[-_TAIL_LENGTH:] != _CHAIN + following.hex().encode() + _END:
        raise KeyFileError(f"{where}: it, or a line before it, was changed.")
    return decode(raw, where), following


def decode(raw: bytes, where: str) -> AnyLine:
    """A written line, its chain not looked at; raises KeyFileError for what is none."""
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{where}: not a line of this log.") from error


def read(file: BinaryIO, name: str, chain: bytes) -> Iterator[tuple[AnyLine, bytes, int]]:
    """Each whole line of a file with the chain and the position after it.

    Ends before a last line that has no end, and before a hole of zero bytes in the last append, which a power cut
    leaves where some of its sectors came to the disk: signatures that never left. Raises KeyFileError, see `unlink`.
    """
    end = 0
    for number, raw in enumerate(file, 1):
        if not raw.endswith(b"\n") or (b"\0" in raw and os.fstat(file.fileno()).st_size - end <= TORN_BYTES):
            return
        line, chain = unlink(chain, raw, f"{name}, line {number}")
        end += len(raw)
        yield line, chain, end


def digests(lines: Iterable[AnyLine]) -> Iterator[bytes]:
    """The first 8 bytes of the digest of each order and token that was made."""
    for line in lines:
        if isinstance(line, OrderLine | TokenLine):
            yield bytes.fromhex(line.digest[: 2 * DIGEST_LENGTH])
