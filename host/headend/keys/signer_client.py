"""The head end's side of a signer in a process of its own: in place of `Signer`, and of the key holder for what the
engine needs of one.

One connection, made when it is needed and made again when it broke. What is asked is asked once more on a fresh
connection; then the signer is away: SignerAway, at once until the next try is due, with pauses that double to 30 s.
Nothing waits longer than `patience_s`.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar

from headend.keys import signer_wire as wire
from headend.keys.base import CACHED_METERS
from headend.keys.heads import HeadSignature
from headend.keys.signer import LOGGED, stated
from headend.keys.signer_lines import TokenLine
from headend.keys.signer_tokens import KeyChangeWanted, TokenWanted
from headend.keys.signer_wire import SignerAway
from headend.refusals import Refused
from meterlink.mac import MacKey

SCHEME = "unix:"
PATIENCE_S = 10.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0

A = TypeVar("A", bound=wire.Message)


def path_of(url: str) -> str:
    """The path in "unix:PATH"; raises Refused for anything else."""
    path = url.removeprefix(SCHEME)
    if not url.startswith(SCHEME) or not 1 <= len(os.fsencode(path)) <= 107:  # sun_path of unix(7)
        raise Refused("signer", url, "unix:PATH, the path at most 107 bytes long")
    return path


class SignerClient:
    """Callable in any thread. Every method raises SignerAway while the signer does not answer; KeyFileError where it
    cannot use its keys or its log.
    """

    def __init__(
        self, url: str, *, patience_s: float = PATIENCE_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path_of(url)
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._alone = Lock()
        self._conn: socket.socket | None = None
        self._standing: wire.Standing | None = None
        self._trouble = ""
        self._pause_s = 0.0
        self._next_try = 0.0
        self._closed = False
        self.mac_key: Callable[[int, int], MacKey] = lru_cache(CACHED_METERS)(self._mac_key)

    @property
    def trouble(self) -> str:
        """Why it is away; "" while it answers, or was not asked yet."""
        return self._trouble

    # --- as the signer ------------------------------------------------------------------------------------------------

    def sign_statements(self, rows: Sequence[Any]) -> list[bytes | Refused]:
        """See `Signer.sign_statements`."""
        made: list[bytes | Refused] = []
        statements = stated(rows)
        for first in range(0, len(statements), wire.MAX_STATEMENTS):
            some = statements[first : first + wire.MAX_STATEMENTS]
            signed = self._ask(wire.Sign(some), wire.Signed).orders
            if len(signed) != len(some):
                raise SignerAway(f"The signer answers {len(signed)} statements where {len(some)} were asked for.")
            made += [one if isinstance(one, bytes) else wire.refusal(one) for one in signed]
        return made

    def make_token(self, wanted: TokenWanted) -> str:
        """See `Signer.make_token`."""
        return self._ask(wire.Token(wanted), wire.Digits).digits

    def make_key_change(self, wanted: KeyChangeWanted) -> list[str]:
        """See `Signer.make_key_change`."""
        return self._ask(wire.KeyChange(wanted), wire.Sections).digits

    def made_tokens(self, pan: str, from_s: int) -> list[TokenLine]:
        """See `Signer.made_tokens`."""
        return self._ask(wire.MadeTokens(pan, from_s), wire.Made).tokens

    def was_signed(self, digest: bytes) -> bool:
        """See `Signer.was_signed`."""
        return self._ask(wire.WasSigned(digest), wire.Verdict).what == LOGGED

    def sign_head(self, digest: bytes) -> HeadSignature:
        """See `Signer.sign_head`."""
        return self._ask(wire.Head(digest), wire.HeadSigned).signature

    def judge_found(self, raw: bytes) -> str:
        """See `Signer.judge_found`."""
        return self._ask(wire.Found(raw), wire.Verdict).what

    def accept_evidence(self, raw: bytes) -> int:
        """See `Signer.accept_evidence`."""
        return self._ask(wire.Evidence(raw), wire.Known).total_uc

    # --- as the key holder --------------------------------------------------------------------------------------------

    def _mac_key(self, meter: int, version: int) -> MacKey:
        """The meter's key, ready for use. Public as `mac_key`, which remembers the last 65 536."""
        return MacKey(self.meter_key(meter, version))

    def meter_key(self, meter: int, version: int) -> bytes:
        """The 32 bytes that a meter shares with the head end."""
        return self._ask(wire.MeterKey(meter, version), wire.Key).key

    def look(self) -> wire.Standing:
        """What the signer's keys are now."""
        self._standing = self._ask(wire.Public(), wire.Standing)
        return self._standing

    @property
    def standing(self) -> wire.Standing:
        """What the signer's keys were when the connection was made, or when `look` was called last."""
        return self._standing or self.look()

    @property
    def use(self) -> str:
        return self.standing.use

    @property
    def signing_epoch(self) -> int:
        return self.standing.signing_epoch

    @property
    def source(self) -> int:
        return self.standing.source

    @property
    def closed_sources(self) -> dict[int, int]:
        return self.standing.closed_sources

    @property
    def tag_key_version(self) -> int:
        return self.standing.tag_key_version

    # --- the connection -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the connection, for good. Idempotent; what is being asked ends with SignerAway."""
        self._closed = True
        conn = self._conn
        if conn is not None:
            _end(conn)

    def _ask(self, question: wire.Message, expected: type[A]) -> A:
        with self._alone:
            if self._closed:
                raise SignerAway("The connection to the signer was closed.")
            if self._trouble and self._monotonic() < self._next_try:
                raise SignerAway(self._trouble)
            try:
                answer = self._exchange(question)
            except OSError as error:
                raise SignerAway(self._lost(error)) from error
            if self._trouble:
                self._trouble, self._pause_s = "", 0.0
        return wire.read_answer(answer, expected)

    def _exchange(self, question: wire.Message) -> bytes:
        """Ask, on the connection that stands or else on a fresh one."""
        frame = wire.frame(question)
        if self._conn is not None:
            try:
                return self._once(self._conn, frame)
            except TimeoutError:
                raise
            except OSError:  # the signer was started again meanwhile
                self._drop()
        self._conn = self._connect()
        return self._once(self._conn, frame)

    def _connect(self) -> socket.socket:
        conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            conn.settimeout(self._patience_s)
            conn.connect(self._path)
            standing = wire.read_answer(self._once(conn, wire.frame(wire.Public())), wire.Standing)
            if standing.protocol != wire.PROTOCOL:
                raise SignerAway(f"The signer speaks protocol {standing.protocol}; {wire.PROTOCOL} is expected.")
        except SignerAway as away:
            _end(conn)
            raise ConnectionError(str(away)) from away
        except BaseException:
            _end(conn)
            raise
        self._standing = standing
        return conn

    def _once(self, conn: socket.socket, frame: bytes) -> bytes:
        conn.settimeout(self._patience_s)
        with suppress(ConnectionError):  # where it was ended, the answer that says why may be there all the same
            conn.sendall(frame)
        try:
            answer = wire.receive(conn, self._patience_s, self._patience_s)
        except Refused as refused:
            raise ConnectionError(str(refused)) from refused
        if answer is None:
            raise ConnectionResetError("the connection was ended")
        return answer

    def _lost(self, error: OSError) -> str:
        """Note that the signer is away, and until when it is left alone; returns why."""
        self._drop()
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._next_try = self._monotonic() + self._pause_s
        what = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        self._trouble = f"The signer at {self._path} does not answer: {what}."
        return self._trouble

    def _drop(self) -> None:
        if self._conn is not None:
            _end(self._conn)
            self._conn = None


def _end(conn: socket.socket) -> None:
    with suppress(OSError):
        conn.shutdown(socket.SHUT_RDWR)
    conn.close()
