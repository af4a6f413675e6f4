"""What head end and signer say to each other over a Unix socket.

Each message is a frame: its length (4 bytes, big-endian, 1..MAX_FRAME) and a MessagePack map with a `kind`. The head
end asks, the signer answers each question once, in turn. Every question may be asked again: the answer states the same.
"""

import socket
import struct
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from headend.keys.heads import HeadSignature
from headend.keys.sealed import KeyFileError
from headend.keys.signer import Stated
from headend.keys.signer_lines import TokenLine
from headend.keys.signer_tokens import KeyChangeWanted, TokenWanted
from headend.refusals import Refused

PROTOCOL = 1
MAX_FRAME = 1 << 20
MAX_STATEMENTS = 500
MAX_RAW = 4096

_LENGTH = struct.Struct(">I")

Raw = Annotated[bytes, Meta(max_length=MAX_RAW)]


class SignerAway(Exception):
    """The signer does not answer, or not in time: what was asked may be asked again. The text says why."""


class Message(msgspec.Struct, tag_field="kind", tag=str.lower):
    """What all messages are."""


# --- questions --------------------------------------------------------------------------------------------------------


class Public(Message):
    """What the signer's keys are, without any secret. -> Standing"""


class Sign(Message):
    """Sign statements. -> Signed"""

    statements: Annotated[list[Stated], Meta(max_length=MAX_STATEMENTS)]


class MeterKey(Message):
    """The key that a meter shares with the head end. -> Key"""

    meter: int
    version: int


class Token(Message):
    """Make a typed token. -> Digits"""

    token: TokenWanted


class KeyChange(Message):
    """Make the sections of a typed key change. -> Sections"""

    change: KeyChangeWanted


class MadeTokens(Message):
    """The tokens of a PAN that stand in the log, from a minute on. -> Made"""

    pan: Annotated[str, Meta(max_length=18)]
    from_s: int


class WasSigned(Message):
    """Whether the log holds this digest. -> Verdict, "logged" or "" """

    digest: Raw


class Found(Message):
    """Judge an order that was read back from a meter. -> Verdict"""

    order: Raw


class Head(Message):
    """Sign the head of the books whose line has this SHA-256. -> HeadSigned"""

    digest: Raw


class Evidence(Message):
    """Learn the total of a closed source. -> Known"""

    order: Raw


Question = Public | Sign | MeterKey | Token | KeyChange | MadeTokens | WasSigned | Found | Head | Evidence


# --- answers ----------------------------------------------------------------------------------------------------------


class PublicKey(msgspec.Struct, frozen=True):
    """A signing key's public half (X||Y, 64 bytes), and whether the private half is here."""

    role: int
    version: int
    point: bytes
    fingerprint: str
    signs: bool
    revoked: bool


class Standing(Message):
    """`protocol`: version of these messages · the rest as `keys.holder.KeyHolder` has it."""

    protocol: int
    use: str
    signing_epoch: int
    source: int
    closed_sources: dict[int, int]
    tag_key_version: int
    tag_key_versions: list[int]
    keys: list[PublicKey]


class Why(msgspec.Struct, frozen=True):
    """A refusal, see `headend.refusals`; `value` as it is shown."""

    field: str
    value: str
    expected: str


class Signed(Message):
    """An order, or why it was refused, for each statement."""

    orders: list[bytes | Why]


class Key(Message):
    """32 bytes."""

    key: bytes


class Digits(Message):
    """20 decimal digits."""

    digits: str


class Sections(Message):
    """20 decimal digits each."""

    digits: list[str]


class Made(Message):
    """Lines of the log."""

    tokens: list[TokenLine]


class Verdict(Message):
    """`signer.LOGGED`, UNLOGGED or FOREIGN."""

    what: str


class HeadSigned(Message):
    """The signature with its key."""

    signature: HeadSignature


class Known(Message):
    """Micro-currency."""

    total_uc: int


class Failure(Message):
    """Nothing was done. `code`: refused (`why` says what), keys (the key store or log cannot be used), busy (ask again
    later), wrong (not a question of this protocol; the connection ends), denied (not for this user; it ends), failed.
    """

    code: str
    text: str
    why: Why | None = None


Answer = Standing | Signed | Key | Digits | Sections | Made | Verdict | HeadSigned | Known | Failure

_encoder = msgspec.msgpack.Encoder()
_question: Callable[[bytes], Question] = msgspec.msgpack.Decoder(Question).decode
_answer: Callable[[bytes], Answer] = msgspec.msgpack.Decoder(Answer).decode

A = TypeVar("A", bound=Message)


def why(refused: Refused) -> Why:
    """A refusal, to be sent."""
    return Why(refused.field, refused.value, refused.expected)


def refusal(why: Why) -> Refused:
    """A refusal that came."""
    return Refused(why.field, _Shown(why.value), why.expected)


class _Shown(str):
    """Text that was quoted before."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def read_question(raw: bytes) -> Question:
    """Raises Refused for what is none."""
    try:
        return _question(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("question", raw, f"a question of this protocol ({error})") from error


def read_answer(raw: bytes, expected: type[A]) -> A:
    """The answer of that kind; a failure is raised: Refused, KeyFileError or SignerAway."""
    try:
        answer = _answer(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SignerAway(f"The signer speaks another protocol: {error}.") from error
    if isinstance(answer, expected):
        return answer
    if not isinstance(answer, Failure):
        raise SignerAway(f"The signer answers {type(answer).__name__} where {expected.__name__} was asked for.")
    if answer.why is not None:
        raise refusal(answer.why)
    raise (KeyFileError if answer.code == "keys" else SignerAway)(answer.text)


def frame(message: Any) -> bytes:
    """A message as it is sent."""
    raw = _encoder.encode(message)
    return _LENGTH.pack(len(raw)) + raw


def receive(conn: socket.socket, patience_s: float, idle_s: float | None) -> bytes | None:
    """The content of the next frame; None where the other side has ended.

    Its first byte may take `idle_s` (None: any time), the rest `patience_s` for each piece. Raises Refused for a length
    out of range, OSError (TimeoutError, ConnectionError) for what breaks off.
    """
    conn.settimeout(idle_s)
    begun = conn.recv(_LENGTH.size)
    if not begun:
        return None
    conn.settimeout(patience_s)
    (length,) = _LENGTH.unpack(_exactly(conn, _LENGTH.size, begun))
    if not 1 <= length <= MAX_FRAME:
        raise Refused("length", length, f"1..{MAX_FRAME}")
    return _exactly(conn, length)


def _exactly(conn: socket.socket, length: int, begun: bytes = b"") -> bytes:
    held = bytearray(begun)
    while len(held) < length:
        piece = conn.recv(length - len(held))
        if not piece:
            raise ConnectionResetError("the connection ended inside a message")
        held += piece
    return bytes(held)
