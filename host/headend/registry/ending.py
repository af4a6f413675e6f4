"""The end of an exclusion that protects life: one person proposes it, another one approves."""

from typing import Any

from sqlalchemy import Connection, bindparam, select

from headend.access.permissions import APPROVE
from headend.gate import proposals
from headend.registry import exclusions, words
from headend.registry.kinds import KINDS
from headend.store.schema import meter
from meterlink import topics

END_EXCLUSION = "end_exclusion"

_AREA = select(meter.c.area).where(meter.c.meter == bindparam("of"))


def propose(conn: Connection, now_s: int, exclusion_id: int, version: int, actor: str, why: str) -> int:
    """Propose to end an exclusion as it stands; returns the proposal's id. Raises Refused, exclusions.Changed."""
    row = exclusions.locked(conn, now_s, exclusion_id)
    if row.version != version:
        raise exclusions.Changed(version, row.version)
    payload = {"exclusion": row.id, "version": row.version, "kind": row.kind, "meter": row.meter, "note": why}
    return proposals.propose(conn, now_s, END_EXCLUSION, payload, actor, why)


def _carry_out(conn: Connection, now_s: int, payload: dict[str, Any], author: str, approver: str) -> None:
    """End it, if it still is what was proposed; raises Refused, exclusions.Changed."""
    row = exclusions.locked(conn, now_s, payload["exclusion"])
    if row.version != payload["version"]:
        raise exclusions.Changed(payload["version"], row.version)
    exclusions.finish(conn, now_s, row, author, payload["note"], approver)


def _told(payload: dict[str, Any]) -> dict[str, object]:
    return {**payload, "kind": KINDS[payload["kind"]].title, "meter": topics.meter_name(payload["meter"])}


def _area(conn: Connection, payload: dict[str, Any]) -> str:
    return str(conn.execute(_AREA, {"of": payload["meter"]}).scalar_one())


proposals.KINDS[END_EXCLUSION] = proposals.Kind(APPROVE, _carry_out, words.END_EXCLUSION, fields=_told, area=_area)
