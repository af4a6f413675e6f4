"""The signer: turns committed statements into orders.

It alone uses the private keys, outside any transaction. It trusts the database for nothing that makes money: it signs
only for the signing epoch and source of its own key store, reads the total out of the body that it signs, and holds the
growth against what its own log says it has signed before. Signing the same statement again gives the same bytes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row

from headend.clock import Clock
from headend.keys.keystore import KeyStore
from headend.keys.signer_log import Line, SignerLog
from headend.refusals import Refused
from meterlink import bodies, orders
from meterlink.orders import ASPECT_CREDIT, ASPECT_ROLE, OrderError, Statement


class _Made(NamedTuple):
    raw: bytes
    line: Line


class Signer:
    """Signs rows of `order`, joined with what else signing needs: the meter's `tag_key_version`, and the signing epoch
    of the database as `database_epoch`.

    `max_increase_uc`: the most that one order may add to a source's total.
    """

    def __init__(self, keys: KeyStore, log: SignerLog, clock: Clock, max_increase_uc: int) -> None:
        if not 1 <= max_increase_uc <= bodies.MAX_UC:
            raise Refused("max_increase_uc", max_increase_uc, f"1..{bodies.MAX_UC}")
        self._keys = keys
        self._log = log
        self._clock = clock
        self._max_increase_uc = max_increase_uc

    def sign_statement(self, row: Row[Any]) -> bytes:
        """The whole order: statement, signature, tag. It is in the log, on disk, when this returns.

        Raises Refused (epoch, source, cap, a key that is not here, a body that cannot be); KeyFileError without a log.
        """
        (signed,) = self.sign_statements([row])
        if isinstance(signed, Refused):
            raise signed
        return signed

    def sign_statements(self, rows: Sequence[Row[Any]]) -> list[bytes | Refused]:
        """Sign several with one write to the log; in place of an order stands the reason why it was refused."""
        now_s = self._clock.now_s()
        made: list[_Made | Refused] = []
        for row in rows:
            try:
                made.append(self._make(row, now_s))
            except Refused as refused:
                made.append(refused)
        lines = [one.line for one in made if isinstance(one, _Made)]
        if lines:
            self._log.append(lines)
        return [one.raw if isinstance(one, _Made) else one for one in made]

    def _make(self, row: Row[Any], now_s: int) -> _Made:
        keys = self._keys
        for epoch in (row.database_epoch, row.signing_epoch):
            if epoch != keys.signing_epoch:
                raise Refused("signing_epoch", epoch, f"{keys.signing_epoch}, the key store's")
        if row.aspect not in ASPECT_ROLE:
            raise Refused("aspect", row.aspect, f"one of {sorted(ASPECT_ROLE)}")
        name = keys.newest(ASPECT_ROLE[row.aspect])
        total_uc = self._credit(row) if row.aspect == ASPECT_CREDIT else 0
        statement = Statement(
            aspect=row.aspect,
            meter=row.meter,
            account_epoch=row.account_epoch,
            role=name.role,
            key_version=name.version,
            tag_key_version=row.tag_key_version,
            selector=row.selector,
            signing_epoch=row.signing_epoch,
            version=row.version,
            issued_s=row.issued_s,
            not_after_s=row.not_after_s,
            body=row.body,
        )
        try:
            encoded = statement.encode()
        except OrderError as error:
            raise Refused("order", row.id, f"a statement that can be encoded ({error})") from error
        digest = orders.digest(encoded)
        raw = orders.seal(encoded, keys.sign(name, digest), keys.mac_key(row.meter, row.tag_key_version))
        line = Line(
            at_s=now_s,
            order_id=row.id,
            meter=row.meter,
            account_epoch=row.account_epoch,
            aspect=row.aspect,
            selector=row.selector,
            signing_epoch=row.signing_epoch,
            version=row.version,
            total_uc=total_uc,
            digest=digest.hex(),
        )
        return _Made(raw, line)

    def _credit(self, row: Row[Any]) -> int:
        """Check a credit statement against the log and return its total."""
        if row.selector != self._keys.source:
            raise Refused("source", row.selector, f"{self._keys.source}, the key store's")
        try:
            total_uc, _, _ = bodies.decode_credit(row.body)
        except OrderError as error:
            raise Refused("body", row.body.hex(), f"a credit statement ({error})") from error
        if total_uc != row.total_uc:
            raise Refused("total_uc", row.total_uc, f"{total_uc}, which the body states")
        key = (row.meter, row.account_epoch, row.selector)
        signed_uc = self._log.totals.get(key, 0)
        if total_uc - signed_uc > self._max_increase_uc:
            raise Refused("total_uc", total_uc, f"at most {signed_uc + self._max_increase_uc} (cap of one order)")
        return total_uc
