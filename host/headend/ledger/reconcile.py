"""Ledger against meter, explained line by line.

    ledger - meter = in flight + waiting + consumption not booked - earned + refunded + adjusted + not typed yet
                     - refunded by the books - stated for tokens and taken back + difference

Every line is a fact of its own: from the entries, from the meter's row, or from the newest authenticated report. What
they leave over is the difference: not zero when credit stands on the meter that nobody sold, or sold credit is
missing there, when a payment has no statement, or the meter's own money identity is broken.
"""

import struct
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from headend.ledger import accounts, balances, entries, refunds
from headend.store import UnknownMeter, identity
from headend.store.prepared import prepared
from headend.store.schema import closing, meter_state, meter_trust
from headend.store.schema import meter as meter_table
from headend.tokens import book, lost
from meterlink import reports
from meterlink.orders import ASPECT_CREDIT

IN_FLIGHT = "sold, not shown on the meter yet"
WITHHELD = "paid, waits for the meter to be read back"
WAITING = "waiting on the meter"
UNBOOKED = "consumption not booked yet"
MOVED_ON = "moved on when the account was closed"
EARNED = "credited for exported energy, not booked"
REFUNDED = "refunded on the meter"
CARRIED = "refunded by the books"
UNDER_WAY = "refund stated to the meter, not proved yet"
ADJUSTED = "adjusted on the meter"
NOT_TYPED = "sold as typed tokens, not typed yet"
TAKEN_BACK = "stated for typed tokens, and taken back"

_STANDING = prepared(
    select(
        meter_state.c.report,
        meter_state.c.sold_uc,
        meter_state.c.on_meter_uc,
        meter_table.c.account_epoch,
        meter_trust.c.withheld_uc,
        meter_trust.c.adjusted_uc,
    )
    .join_from(meter_state, meter_table, meter_table.c.meter == meter_state.c.meter)
    .join(meter_trust, meter_trust.c.meter == meter_state.c.meter)
    .where(meter_state.c.meter == bindparam("of"))
)
_MOVED_TO = prepared(
    select(closing.c.moved_to).where(closing.c.meter == bindparam("of"), closing.c.account_epoch == bindparam("epoch"))
)


@dataclass(frozen=True)
class Explanation:
    """`ledger_uc - meter_uc` is the sum of `lines` plus `difference_uc`.

    `report_time_s`: the meter's time of the report used; None where there is none yet (then the meter side is 0).
    `source_shown`: whether that report was asked about our credit source. Otherwise the source's total is that of an
    earlier report, and credit that arrived in between shows as a difference: ask about the source and explain again.
    """

    meter: int
    account_epoch: int
    ledger_uc: int
    meter_uc: int
    lines: tuple[tuple[str, int], ...]
    report_time_s: int | None
    source_shown: bool

    @property
    def difference_uc(self) -> int:
        """What no line explains; 0 when the books and the meter agree to the unit."""
        return self.ledger_uc - self.meter_uc - sum(amount_uc for _, amount_uc in self.lines)


def explain(conn: Connection, meter: int) -> Explanation:
    """Compare the customer's account with the meter's newest report; raises UnknownMeter."""
    state = _STANDING(conn, {"of": meter}).one_or_none()
    if state is None:
        raise UnknownMeter(meter)
    epoch = state.account_epoch
    account = accounts.of_meter(meter, epoch)
    report = _fields(state.report)
    if report and report["account_epoch"] != epoch:
        report = {}  # it speaks of another account
    under_way_uc = refunds.under_way_uc(conn, meter, epoch)
    source = identity.source_of(conn, meter)
    source_shown = bool(report) and (report["aspect"], report["selector"]) == (ASPECT_CREDIT, source)
    on_meter_uc = report["source_credited_uc"] if source_shown else state.on_meter_uc
    return Explanation(
        meter=meter,
        account_epoch=epoch,
        ledger_uc=balances.balance_uc(conn, account),
        meter_uc=report["balance_uc"] if report else 0,
        lines=(
            (IN_FLIGHT, state.sold_uc - on_meter_uc),
            (WITHHELD, state.withheld_uc),
            (MOVED_ON, -_moved_on_uc(conn, meter, epoch)),
            (WAITING, report.get("waiting_uc", 0)),
            (UNBOOKED, report.get("charged_uc", 0) - balances.booked_uc(conn, entries.CONSUMPTION, account)),
            (EARNED, -report.get("earned_uc", 0)),
            (REFUNDED, report.get("refunded_uc", 0)),
            (CARRIED, under_way_uc - refunds.carried_uc(conn, meter, epoch)),
            (UNDER_WAY, -under_way_uc),
            (ADJUSTED, report.get("adjusted_uc", 0) - state.adjusted_uc),
            *_of_tokens(conn, meter, epoch, report.get("typed_uc", 0)),
        ),
        report_time_s=report.get("time_s"),
        source_shown=source_shown,
    )


def _of_tokens(conn: Connection, meter: int, epoch: int, typed_uc: int) -> tuple[tuple[str, int], tuple[str, int]]:
    """What typed tokens explain. What was typed beyond all that may be ours is left to the difference.

    A token that a credit order names is in the total of our source from then on; where it is void, or had been typed,
    it was taken off again as a refund.
    """
    out_uc = possible_uc = lost.typed_uc(conn, meter, epoch)
    back_uc = 0
    for (state, named), total_uc in book.sums_uc(conn, meter, epoch).items():
        possible_uc += total_uc if state in (book.VENDED, book.REPLACING, book.VOIDING, book.USED) else 0
        under_way = state in (book.REPLACING, book.VOIDING)
        out_uc += total_uc if state in (book.RESERVED, book.VENDED, book.USED) or (under_way and not named) else 0
        back_uc += total_uc if named and state in (book.VOID, book.USED) else 0
    return (NOT_TYPED, out_uc - min(typed_uc, possible_uc)), (TAKEN_BACK, -back_uc)


def _fields(raw: bytes | None) -> dict[str, Any]:
    """The fields of a report that was verified when it was taken; empty without one."""
    if raw is None:
        return {}
    values = struct.unpack(reports.STRUCT, raw[: reports.PAYLOAD_LENGTH])
    return dict(zip((name for name, _ in reports.FIELDS), values, strict=True))


def _moved_on_uc(conn: Connection, meter: int, epoch: int) -> int:
    """What a closed account has passed on to the one that its closing names; 0 for one that is open."""
    moved_to = _MOVED_TO(conn, {"of": meter, "epoch": epoch}).scalar_one_or_none()
    if moved_to is None:
        return 0
    return balances.moved_uc(conn, entries.MOVED, accounts.of_meter(meter, epoch), moved_to)
