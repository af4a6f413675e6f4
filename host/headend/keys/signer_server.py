"""The signer's side of its socket: who may connect, and one thread for each that does.

A client that was let in may ask one question after the other; what it may cost is bounded: the length of a message, the
time that one may take to come, the number of clients, and the meter keys that may be had in a minute.
"""

import logging
import os
import select
import socket
import stat
import struct
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread, current_thread

from headend.keys import signer_wire as wire
from headend.keys.holder import KeyHolder
from headend.keys.sealed import KeyFileError
from headend.keys.signer import LOGGED, Signer
from headend.refusals import Refused

MAX_CLIENTS = 32
PATIENCE_S = 10.0  # for each piece of a message that has begun, in or out
STOP_S = 5.0
KEY_PATIENCE_S = 1.0  # how long a client waits its turn for a meter key

log = logging.getLogger("openprepay.signer")


class Rate:
    """At most `per_minute`, and as many at once after a quiet minute. Callable in any thread."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._monotonic = monotonic
        self._left = float(per_minute)
        self._at = monotonic()
        self._alone = Lock()

    def take(self, patience_s: float = 0.0) -> bool:
        """Count one more where it is allowed within `patience_s`; whether it is."""
        while True:
            with self._alone:
                now = self._monotonic()
                self._left = min(self._per_minute, self._left + (now - self._at) * self._per_minute / 60)
                self._at = now
                if self._left >= 1:
                    self._left -= 1
                    return True
                wait_s = (1 - self._left) * 60 / self._per_minute
            if wait_s > patience_s:
                return False
            patience_s -= wait_s
            time.sleep(wait_s)


class SignerServer:
    """Answers at a Unix socket from `open` to `close`; `serve` works until `stop`.

    `uids`: the users that may connect, judged by SO_PEERCRED (unix(7)). With our own alone the socket has mode 0600,
    and its folder has to be closed to all others; with more of them it has 0666.
    """

    def __init__(
        self, path: Path, signer: Signer, keys: KeyHolder, uids: Collection[int], meter_keys_per_minute: int
    ) -> None:
        self._path = path
        self._signer = signer
        self._keys = keys
        self._uids = frozenset(uids)
        self._meter_keys = Rate(meter_keys_per_minute)
        self._clients: dict[Thread, socket.socket] = {}
        self._stopping = False

    def open(self) -> None:
        """Begin to listen. Raises Refused where the folder is open to others, or somebody answers there already."""
        self._stopped, self._stop = os.pipe()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _make_room(self._path, alone=self._uids <= {os.getuid()})
            self._listening.bind(str(self._path))
            os.chmod(self._path, 0o600 if self._uids <= {os.getuid()} else 0o666)
            self._listening.listen(MAX_CLIENTS)
        except OSError as error:
            self._listening.close()
            raise Refused("signer", str(self._path), f"a path for a socket ({error.strerror or error})") from error
        except BaseException:
            self._listening.close()
            raise

    def serve(self) -> None:
        """Let clients in until `stop`; then let each finish what it is being answered."""
        while not self._stopping:
            ready, _, _ = select.select([self._listening.fileno(), self._stopped], [], [])
            if self._stopped not in ready:
                conn, _ = self._listening.accept()
                self._admit(conn)

    def stop(self) -> None:
        """End `serve`. Callable in any thread and in a signal handler."""
        if not self._stopping:
            self._stopping = True
            os.write(self._stop, b"x")

    def close(self) -> None:
        """Stop listening, and end the connections when what is being answered on them is answered."""
        self._listening.close()
        self._path.unlink(missing_ok=True)
        clients = list(self._clients.items())
        for _, conn in clients:
            with suppress(OSError):
                conn.shutdown(socket.SHUT_RD)
        ends = time.monotonic() + STOP_S
        for thread, _ in clients:
            thread.join(max(0.0, ends - time.monotonic()))
        os.close(self._stop)
        os.close(self._stopped)

    # --- one client ---------------------------------------------------------------------------------------------------

    def _admit(self, conn: socket.socket) -> None:
        uid = peer_uid(conn)
        if uid not in self._uids:
            log.warning("User %d asked to connect and may not.", uid)
            self._turn_away(conn, wire.Failure("denied", f"The signer does not work for user {uid}."))
        elif len(self._clients) >= MAX_CLIENTS:
            self._turn_away(conn, wire.Failure("busy", f"The signer has {MAX_CLIENTS} clients already."))
        else:
            thread = Thread(target=self._attend, args=(conn,), name="client", daemon=True)
            self._clients[thread] = conn
            thread.start()

    def _turn_away(self, conn: socket.socket, failure: wire.Failure) -> None:
        with conn, suppress(OSError):
            conn.settimeout(0)
            conn.send(wire.frame(failure))

    def _attend(self, conn: socket.socket) -> None:
        """Answer one client until it ends, the signer stops, or something comes that is no question."""
        with conn:
            try:
                while (raw := wire.receive(conn, PATIENCE_S, None)) is not None:
                    conn.sendall(wire.frame(self._answer(wire.read_question(raw))))
            except Refused as refused:
                log.warning("A client sent what is no question: %s.", refused)
                self._turn_away(conn, wire.Failure("wrong", str(refused), wire.why(refused)))
            except OSError as error:
                log.debug("A connection broke off: %s.", error)
            finally:
                del self._clients[current_thread()]

    def _answer(self, question: wire.Question) -> wire.Answer:
        try:
            return self._do(question)
        except Refused as refused:
            return wire.Failure("refused", str(refused), wire.why(refused))
        except KeyFileError as error:
            log.error("%s", error)
            return wire.Failure("keys", str(error))
        except Exception as error:  # the client hears that it was not done; the others go on
            log.exception("A question could not be answered.")
            return wire.Failure("failed", f"The signer could not do it: {type(error).__name__}.")

    def _do(self, question: wire.Question) -> wire.Answer:
        if isinstance(question, wire.Sign):
            made = self._signer.sign(question.statements)
            return wire.Signed([wire.why(one) if isinstance(one, Refused) else one for one in made])
        if isinstance(question, wire.MeterKey):
            if not self._meter_keys.take(KEY_PATIENCE_S):
                return wire.Failure("busy", "More meter keys were asked for than the signer gives in a minute.")
            return wire.Key(self._keys.meter_key(question.meter, question.version))
        if isinstance(question, wire.Token):
            return wire.Digits(self._signer.make_token(question.token))
        if isinstance(question, wire.KeyChange):
            return wire.Sections(self._signer.make_key_change(question.change))
        if isinstance(question, wire.MadeTokens):
            return wire.Made(self._signer.made_tokens(question.pan, question.from_s))
        if isinstance(question, wire.WasSigned):
            return wire.Verdict(LOGGED if self._signer.was_signed(question.digest) else "")
        if isinstance(question, wire.Found):
            return wire.Verdict(self._signer.judge_found(question.order))
        if isinstance(question, wire.Head):
            return wire.HeadSigned(self._signer.sign_head(question.digest))
        if isinstance(question, wire.Evidence):
            return wire.Known(self._signer.accept_evidence(question.order))
        return self._standing()

    def _standing(self) -> wire.Standing:
        keys = self._keys
        revoked = keys.revoked()
        listed = [
            wire.PublicKey(*name, keys.public_key(name), keys.fingerprint(name), keys.can_sign(name), name in revoked)
            for name in sorted({*keys.names(), *revoked})
        ]
        return wire.Standing(
            wire.PROTOCOL,
            keys.use,
            keys.signing_epoch,
            keys.source,
            dict(keys.closed_sources),
            keys.tag_key_version,
            keys.tag_key_versions(),
            listed,
        )


def peer_uid(conn: socket.socket) -> int:
    """The user at the other end of a Unix socket, as the kernel knows it."""
    _, uid, _ = struct.unpack("3i", conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def _make_room(path: Path, *, alone: bool) -> None:
    """Have the folder, closed to others, and no socket there that a killed signer left."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    closed = 0o077 if alone else 0o022
    if mode & closed:
        wanted = "0700" if alone else "0755 or less"
        raise Refused("folder of the signer's socket", f"mode {mode:04o} of {path.parent}", f"mode {wanted}")
    if not path.is_socket():
        return  # where something else lies, binding says so
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise Refused("signer", str(path), "a path at which no other signer answers")
