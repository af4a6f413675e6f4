"""The signer: turns committed statements into orders, and reserved tokens into digits.

It alone uses the private keys, outside any transaction. It trusts the database for nothing that makes money: it signs
only for the signing epoch and source of its own key store, reads the totals out of the body that it signs, and holds
what they add against what its own log says it has signed before. Signing the same statement again states the same, and
counts once.
"""

from collections.abc import Sequence
from operator import attrgetter
from threading import Lock
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from headend.clock import Clock
from headend.keys import heads
from headend.keys import signer_tokens as tokens
from headend.keys.heads import HeadSignature
from headend.keys.holder import KeyHolder, KeyName, NoSuchKey
from headend.keys.signer_books import Account, Caps
from headend.keys.signer_lines import DIGEST_LENGTH, EvidenceLine, OrderLine, TokenLine
from headend.keys.signer_log import SignerLog
from headend.refusals import Refused
from meterlink import bodies, bodies_root, orders, stating
from meterlink.orders import ASPECT_CREDIT, ASPECT_RECOVER, ASPECT_ROLE, FLAG_BODY_APART, Order, OrderError, Statement

# What an order is that was found on a meter.
LOGGED = "logged"
UNLOGGED = "unlogged_signature"  # our key made it, and not this signer: the key, or the log, is not ours alone
FOREIGN = "foreign_signature"

MAX_MADE = 1000  # tokens in one answer

_EARNED = 0  # stands for a source in the books: what a recover order states as earned


class Stated(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A row of `order` with what else signing needs; the names and units of the row.

    `database_epoch`: signing epoch of the database · `key_version`: the newest signing key that the meter is known to
    hold, None where that is not known · `apart_body`: the body that `body` only names · `evidence_order`: of a closed
    source, the order with the highest total that was read back from the meter.
    """

    id: int
    meter: int
    aspect: int
    selector: int
    account_epoch: int
    signing_epoch: int
    version: int
    total_uc: int
    issued_s: int
    not_after_s: int
    body: bytes
    actor: str
    tag_key_version: int
    database_epoch: int
    flags: int = 0
    key_version: int | None = None
    apart_body: bytes | None = None
    evidence_order: bytes | None = None


_OPTIONAL = ("flags", "key_version", "apart_body", "evidence_order")
_REQUIRED = tuple(name for name in Stated.__struct_fields__ if name not in _OPTIONAL)
_required = attrgetter(*_REQUIRED)


def stated(rows: Sequence[Any]) -> list[Stated]:
    """Rows of one query as what they state; a column of `_OPTIONAL` need not be there."""
    there = [name for name in _OPTIONAL if rows and hasattr(rows[0], name)]
    return [Stated(*_required(row), **{name: getattr(row, name) for name in there}) for row in rows]


class Signer:
    """Signs rows of `order`, joined with what else signing needs: the meter's `tag_key_version`, and the signing epoch
    of the database as `database_epoch`. Callable in any thread.
    """

    def __init__(self, keys: KeyHolder, log: SignerLog, clock: Clock, caps: Caps) -> None:
        self._keys = keys
        self._log = log
        self._clock = clock
        self._caps = caps.checked()
        self._alone = Lock()
        self._names: dict[tuple[int, int | None], KeyName] = {}  # what `_signing_key` found, for one batch

    def sign_statement(self, row: Any) -> bytes:
        """The whole order: statement, signature, tag. It is in the log, on disk, when this returns.

        Raises Refused (epoch, source, cap, a key that is not here, a body that cannot be); KeyFileError without a log.
        """
        (signed,) = self.sign_statements([row])
        if isinstance(signed, Refused):
            raise signed
        return signed

    def sign_statements(self, rows: Sequence[Any]) -> list[bytes | Refused]:
        """Sign several with one write to the log; in place of an order stands the reason why it was refused."""
        return self.sign(stated(rows))

    def sign(self, statements: Sequence[Stated]) -> list[bytes | Refused]:
        """The same for what rows state."""
        made: list[bytes | Refused] = []
        lines: list[OrderLine] = []
        with self._alone:
            now_s = self._clock.now_s()
            self._log.books.turn(now_s)
            self._names.clear()
            try:
                for one in statements:
                    try:
                        made.append(self._make(one, now_s, lines))
                    except Refused as refused:
                        made.append(refused)
            finally:  # whatever ended it: what the books have counted has to stand in the log
                if lines:
                    self._log.append(lines)
        return made

    def make_token(self, wanted: tokens.TokenWanted) -> str:
        """The 20 digits of a typed token; it is in the log, on disk, when this returns.

        The same token again gives the same digits, and counts once. Raises Refused: a field out of its range, a TID
        that is not above all that its PAN had before or lies too far ahead, a cap, a key that is not here, a database
        of another signing epoch.
        """
        self._check_epoch(wanted.database_epoch)
        digest = tokens.digest(wanted)
        amount_wh, tid_s = tokens.energy_wh(wanted), tokens.issued_s(wanted)
        with self._alone:
            now_s = self._clock.now_s()
            made = tokens.digits(self._keys, wanted, now_s)
            self._log_token(wanted, now_s, tid_s, amount_wh, digest)
        return made

    def make_key_change(self, wanted: tokens.KeyChangeWanted) -> list[str]:
        """The 20 digits of each section of a key change, in their order; it is in the log, on disk, when this returns.

        The same change again gives the same digits. Raises Refused, as `make_token`.
        """
        self._check_epoch(wanted.old.database_epoch)
        digest, tid_s = tokens.key_change_digest(wanted), tokens.issued_s(wanted.old)
        with self._alone:
            now_s = self._clock.now_s()
            made = tokens.sections(self._keys, wanted, now_s)
            self._log_token(wanted.old, now_s, tid_s, 0, digest)
        return made

    def _log_token(self, wanted: tokens.TokenWanted, now_s: int, tid_s: int, amount_wh: int, digest: bytes) -> None:
        """Have it counted and in the log, unless it stands there; or Refused."""
        books = self._log.books
        if tid_s <= books.token_s.get(wanted.pan, -1) and self._log.has(digest):
            return
        if tid_s > now_s + tokens.MAX_AHEAD_S:
            raise Refused("tid", wanted.tid, f"at most {tokens.MAX_AHEAD_S} s ahead of now")
        books.turn(now_s)
        books.check_token(self._caps, wanted.pan, wanted.tid, tid_s, amount_wh)
        line = TokenLine(
            now_s,
            wanted.meter,
            wanted.pan,
            wanted.token_class,
            wanted.subclass,
            wanted.tid,
            tid_s,
            amount_wh,
            wanted.channel,
            digest.hex(),
        )
        books.count(line)
        self._log.append([line])

    def made_tokens(self, pan: str, from_s: int) -> list[TokenLine]:
        """Lines of the log: the tokens of a PAN whose TID is the minute `from_s` (seconds since 1970 UTC) or a later
        one, by rising TID, the first `MAX_MADE`. For a database that was restored.
        """
        with self._alone:
            return self._log.tokens_of(pan, from_s)[:MAX_MADE]

    def sign_head(self, digest: bytes) -> HeadSignature:
        """Sign the head of the books whose line has this SHA-256, see `keys.heads`. Raises Refused."""
        return heads.sign(self._keys, digest)

    def was_signed(self, digest: bytes) -> bool:
        """Whether the log holds an order (or token) with this digest; its first 8 bytes are enough."""
        if len(digest) < DIGEST_LENGTH:
            raise Refused("digest", digest.hex(), f"at least {DIGEST_LENGTH} bytes")
        with self._alone:
            return self._log.has(digest)

    def judge_found(self, raw: bytes) -> str:
        """What an order is that was read back from a meter: LOGGED, UNLOGGED or FOREIGN. Raises Refused."""
        order = _order(raw)
        if not self._is_ours(order):
            return FOREIGN
        return LOGGED if self.was_signed(order.digest) else UNLOGGED

    def accept_evidence(self, raw: bytes) -> int:
        """Learn the totals of a closed source from a credit order with our own signature; returns the total now known.

        For a log that was lost with the old database. Raises Refused for anything else: what a source in use has been
        credited stands in the log alone, and a retired key proves nothing.
        """
        order = _order(raw)
        with self._alone:
            return self._accept(order)

    def _accept(self, order: Order) -> int:
        found = order.stated
        if found.aspect != ASPECT_CREDIT or found.selector not in self._keys.closed_sources:
            raise Refused("evidence", f"aspect {found.aspect}, {found.selector}", "a credit order of a closed source")
        name = KeyName(found.role, found.key_version)
        if name in self._keys.revoked() or not self._is_ours(order):
            raise Refused("evidence", order.digest.hex(), "an order with the signature of a credit key in force")
        total_uc, refunded_uc, _ = bodies.decode_credit(found.body)
        account = (found.meter, found.account_epoch, found.selector)
        known_uc = self._log.totals.get(account, 0)
        if total_uc <= known_uc:
            return known_uc
        line = EvidenceLine(self._clock.now_s(), *account, total_uc, refunded_uc, order.digest.hex())
        self._log.books.count(line)
        self._log.append([line])
        return total_uc

    def _is_ours(self, order: Order) -> bool:
        """Whether one of our keys, in force or not, made the order's signature."""
        role, version = order.stated.role, order.stated.key_version
        try:
            point = self._keys.public_key(KeyName(role, version))
        except NoSuchKey:
            return False
        return orders.may(role, order.stated.aspect) and _verifies(point, order)

    # --- one statement ------------------------------------------------------------------------------------------------

    def _make(self, row: Stated, now_s: int, lines: list[OrderLine]) -> bytes:
        """The order; its line is counted and put to `lines`."""
        keys = self._keys
        self._check_epoch(row.database_epoch)
        self._check_epoch(row.signing_epoch)
        if row.aspect not in ASPECT_ROLE:
            raise Refused("aspect", row.aspect, f"one of {sorted(ASPECT_ROLE)}")
        role = ASPECT_ROLE[row.aspect]
        name = self._names.get((role, row.key_version)) or self._signing_key(role, row.key_version)
        total_uc = refunded_uc = increase_uc = 0
        recovered: tuple[tuple[int, int, int], ...] = ()
        if row.aspect == ASPECT_CREDIT:
            total_uc, refunded_uc, increase_uc = self._credit(row)
        elif row.aspect == ASPECT_RECOVER:
            recovered, increase_uc = self._recover(row)
        statement = Statement(
            row.aspect,
            row.meter,
            row.account_epoch,
            name.role,
            name.version,
            row.tag_key_version,
            row.selector,
            row.signing_epoch,
            row.version,
            row.issued_s,
            row.not_after_s,
            row.body,
            row.flags,
        )
        try:
            encoded = statement.encode()
        except OrderError as error:
            raise Refused("order", row.id, f"a statement that can be encoded ({error})") from error
        digest = orders.digest(encoded)
        raw = orders.seal(encoded, keys.sign(name, digest), keys.mac_key(row.meter, row.tag_key_version))
        refunded_before_uc = self._log.books.refunded.get((row.meter, row.account_epoch, row.selector), 0)
        line = OrderLine(
            now_s,
            row.id,
            row.meter,
            row.account_epoch,
            row.aspect,
            row.selector,
            row.signing_epoch,
            row.version,
            total_uc,
            refunded_uc,
            increase_uc,
            max(0, refunded_uc - refunded_before_uc),
            row.actor,
            digest.hex(),
            recovered,
        )
        self._log.books.count(line)
        lines.append(line)
        return raw

    def _check_epoch(self, epoch: int) -> None:
        if epoch != self._keys.signing_epoch:
            raise Refused("signing_epoch", epoch, f"{self._keys.signing_epoch}, the key store's")

    def _signing_key(self, role: int, held: int | None) -> KeyName:
        """The newest key in force that the meter is known to hold, else the oldest: a meter is provisioned with every
        key then in force, so of a rotation that it may not have heard of, it holds the one before."""
        able = [name for name in self._keys.names() if name.role == role]
        known = [name for name in able if held is not None and name.version <= held]
        name = max(known) if known else min(able, default=KeyName(role, 0))
        self._names[role, held] = name
        return name

    def _credit(self, row: Stated) -> tuple[int, int, int]:
        """Check a credit statement against the log: (total, refunded, what it adds)."""
        try:
            total_uc, refunded_uc, _ = bodies.decode_credit(row.body)
        except OrderError as error:
            raise Refused("body", row.body.hex(), f"a credit statement ({error})") from error
        if total_uc != row.total_uc:
            raise Refused("total_uc", row.total_uc, f"{total_uc}, which the body states")
        account = (row.meter, row.account_epoch, row.selector)
        if row.selector == self._keys.source:
            return total_uc, refunded_uc, self._log.books.check_credit(self._caps, account, row.actor, total_uc)
        if row.selector not in self._keys.closed_sources:
            raise Refused("source", row.selector, f"{self._keys.source}, the key store's, or a closed one")
        if row.evidence_order is not None:
            self._accept(_order(row.evidence_order))
        self._is_known(account, total_uc)
        return total_uc, refunded_uc, 0

    def _recover(self, row: Stated) -> tuple[tuple[tuple[int, int, int], ...], int]:
        """Check a recover statement, which sets totals of all sources: (those totals, what they add).

        Sources of ours that are closed are held to what is known; all others, and what was earned, add what is above.
        """
        try:
            held = bodies_root.decode_recover(_whole_body(row))
        except OrderError as error:
            raise Refused("body", row.body.hex(), f"a recover statement ({error})") from error
        stated_totals = (*held.sources, (_EARNED, held.earned_uc, 0))
        increase_uc = 0
        for source, total_uc, _ in stated_totals:
            account = (row.meter, row.account_epoch, source)
            if source in self._keys.closed_sources:
                self._is_known(account, total_uc)
            else:
                increase_uc += max(0, total_uc - self._log.totals.get(account, 0))
        if increase_uc:
            self._log.books.check_increase(self._caps, row.meter, row.actor, increase_uc)
        return stated_totals, increase_uc

    def _is_known(self, account: Account, total_uc: int) -> None:
        known_uc = self._log.totals.get(account, 0)
        if total_uc > known_uc:
            raise Refused("total_uc", total_uc, f"at most {known_uc}: source {account[2]} is closed")


def _whole_body(row: Stated) -> bytes:
    """The body, also where it travels apart; `row.body` where that is not the one which the order names."""
    whole = row.apart_body
    named = row.flags == FLAG_BODY_APART and whole is not None and stating.apart(whole) == row.body
    return whole if named and whole is not None else row.body


def _order(raw: bytes) -> Order:
    try:
        return Order(raw)
    except OrderError as error:
        raise Refused("order", raw.hex(), f"an order ({error})") from error


def _verifies(point: bytes, order: Order) -> bool:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + point)
    r, s = int.from_bytes(order.signature[:32], "big"), int.from_bytes(order.signature[32:], "big")
    try:
        key.verify(utils.encode_dss_signature(r, s), order.digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True
