"""The holds that stand on a meter: what was ordered, by whom and on what evidence, and what the meter shows of it.

A hold for safety is set with the evidence of the danger, and released by whoever may, with the evidence that its cause
is removed; nothing else releases it. It comes along to another account and to the meter that takes this one's place.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select

from headend import audit
from headend.orders import lifecycle, statements
from headend.orders.stored import stored_report
from headend.refusals import Refused
from headend.registry import words  # noqa: F401 - its actions
from headend.registry.evidence import Evidence
from headend.store import lock_meter
from headend.store.schema import meter_state, order
from headend.store.schema_registry import hold_evidence
from meterlink import bodies, reasons
from meterlink.orders import ASPECT_SUPPLY

RULING = (lifecycle.QUEUED, *lifecycle.ON_THE_WAY, lifecycle.CONFIRMED)

_newest = (
    select(func.max(order.c.id))
    .where(order.c.meter == bindparam("of"), order.c.aspect == ASPECT_SUPPLY, order.c.state.in_(RULING))
    .group_by(order.c.selector)
)
_RULING = select(order).where(order.c.id.in_(_newest)).order_by(order.c.selector)
_REPORT = select(meter_state.c.report).where(meter_state.c.meter == bindparam("of"))
_EVIDENCE = select(hold_evidence).where(hold_evidence.c.order_id.in_(bindparam("orders", expanding=True)))
_HISTORY = (
    select(order)
    .where(order.c.meter == bindparam("of"), order.c.aspect == ASPECT_SUPPLY, order.c.id < bindparam("before"))
    .order_by(order.c.id.desc())
    .limit(bindparam("at_most"))
)
_PROOF = insert(hold_evidence)


@dataclass(frozen=True)
class Hold:
    """A hold (reasons.HOLD_*) on a meter.

    `order`: the newest order that sets it; None: the meter shows one that no order here set · `on_meter`: whether its
    newest report shows it; None: no report has come · `evidence`: rows of `hold_evidence`, oldest first.
    """

    reason: int
    order: Row[Any] | None
    on_meter: bool | None
    evidence: tuple[Row[Any], ...] = ()

    @property
    def proved(self) -> bool:
        """Whether a report that answered our question showed what the order wants."""
        return self.order is not None and self.order.state == lifecycle.CONFIRMED


def standing(conn: Connection, meter_id: int) -> list[Hold]:
    """The holds that are wanted on a meter or shown by it, protection among them, by reason."""
    wanted = {row.selector: row for row in conn.execute(_RULING, {"of": meter_id}) if _holds(row)}
    report = stored_report(conn.execute(_REPORT, {"of": meter_id}).scalar_one_or_none())
    proofs = evidence_of(conn, [row.id for row in wanted.values()])
    found = []
    for reason in range(reasons.HOLD_ARREARS, reasons.HOLD_PROTECTION + 1):
        on_meter = None if report is None else bool(report.holds >> reason & 1)
        row = wanted.get(reason)
        if row is not None or on_meter:
            found.append(Hold(reason, row, on_meter, proofs.get(row.id, ()) if row is not None else ()))
    return found


def history(conn: Connection, meter_id: int, before: int, limit: int) -> list[Row[Any]]:
    """Orders on holds with ids below `before`, newest first: each that set or released one, whatever became of it."""
    return list(conn.execute(_HISTORY, {"of": meter_id, "before": before, "at_most": limit}).all())


def evidence_of(conn: Connection, order_ids: list[int]) -> dict[int, tuple[Row[Any], ...]]:
    """Order -> its evidence, oldest first."""
    found: dict[int, tuple[Row[Any], ...]] = {}
    for row in conn.execute(_EVIDENCE.order_by(hold_evidence.c.id), {"orders": order_ids}):
        found[row.order_id] = (*found.get(row.order_id, ()), row)
    return found


def prove(conn: Connection, now_s: int, order_id: int, evidence: Evidence, actor: str) -> None:
    """Keep the evidence (such as the operation ticket, 停电操作票) of an order on a hold; raises Refused."""
    evidence.check()
    row = {"order_id": order_id, "at_s": now_s, "actor": actor}
    conn.execute(_PROOF, {**row, "reference": evidence.reference, "document": evidence.document})


def set_safety(conn: Connection, now_s: int, meter_id: int, evidence: Evidence, actor: str, *, note: str = "") -> int:
    """Set the hold for safety, at once and whatever protects the customer; returns the order's id. Raises Refused."""
    made = statements.stop(conn, now_s, meter_id, reasons.HOLD_SAFETY, actor, reason_text=note, delay_s=0)
    prove(conn, now_s, made, evidence, actor)
    audit.record(conn, now_s, actor, "hold.safety", f"meter:{meter_id}", {"order": made, **evidence.told()})
    return made


def release_safety(
    conn: Connection, now_s: int, meter_id: int, evidence: Evidence, actor: str, *, close: int, note: str = ""
) -> int:
    """Release the hold for safety: `evidence` says that its cause is removed. Returns the order's id; raises Refused.

    `close`: bodies.CLOSE_PERMIT (the customer closes at the meter) or CLOSE_DIRECT.
    """
    lock_meter(conn, meter_id)
    if not any(hold.reason == reasons.HOLD_SAFETY for hold in standing(conn, meter_id)):
        raise Refused("meter", meter_id, "one with a hold for safety")
    made = statements.release(conn, now_s, meter_id, reasons.HOLD_SAFETY, actor, close=close, reason_text=note)
    prove(conn, now_s, made, evidence, actor)
    audit.record(conn, now_s, actor, "hold.safety_released", f"meter:{meter_id}", {"order": made, **evidence.told()})
    return made


def safety_stands(conn: Connection, meter_id: int) -> Row[Any] | None:
    """The order by which a hold for safety is wanted on the meter; None where none is."""
    rows = conn.execute(_RULING, {"of": meter_id})
    return next((row for row in rows if row.selector == reasons.HOLD_SAFETY and _holds(row)), None)


def carry_safety(conn: Connection, now_s: int, from_meter: int, to_meter: int, actor: str, why: str) -> None:
    """State the hold for safety to `to_meter` where it is wanted on `from_meter`; both are locked, or one and the same.

    With it goes its evidence. On the same meter (another account is opened): only what the meter is not proved to hold,
    since it keeps that itself.
    """
    row = safety_stands(conn, from_meter)
    if row is None or (from_meter == to_meter and row.state in (lifecycle.QUEUED, lifecycle.CONFIRMED)):
        return
    made = statements.stop(conn, now_s, to_meter, reasons.HOLD_SAFETY, actor, reason_text=why, delay_s=0)
    for proof in evidence_of(conn, [row.id]).get(row.id, ()):
        prove(conn, now_s, made, Evidence(proof.reference, proof.document), actor)


def _holds(row: Row[Any]) -> bool:
    return bodies.decode_supply(row.body)[0] == bodies.HOLD
