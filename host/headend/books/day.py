"""What a day came to: the entries that were sealed since the day before was closed, and what stands open.

A day's entries are those between two heads, so that reports of successive days cover each entry exactly once, whatever
clock it was made by.
"""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from headend.books import sealer, sweep, words
from headend.books.chain import AUDIT, ENTRY
from headend.language import name, say
from headend.ledger import accounts, balances
from headend.reads import shadow_days
from headend.store.schema import entry, meter
from headend.store.schema_books import seal
from meterlink import topics

FORMAT = 1
LISTED = 1000  # differences in a report; `counted` says how many there are

_SINCE = (
    (seal.c.chain == ENTRY)
    & (seal.c.row_id == entry.c.id)
    & (seal.c.seq > bindparam("above"))
    & (seal.c.seq <= bindparam("up_to"))
)
_IS_CHANNEL = func.substr(entry.c.debit, 1, len("channel:")) == "channel:"
_TO_CHANNEL = func.substr(entry.c.credit, 1, len("channel:")) == "channel:"


def _sums(*by: ColumnElement[Any]) -> Any:
    return select(*by, func.count(), func.sum(entry.c.amount_uc)).select_from(entry.join(seal, _SINCE)).group_by(*by)


_BY_KIND = _sums(entry.c.kind)
_TAKEN = _sums(entry.c.debit).where(_IS_CHANNEL)
_GIVEN = _sums(entry.c.credit).where(_TO_CHANNEL)
_BY_AREA = (
    select(meter.c.area, entry.c.kind, func.count(), func.sum(entry.c.amount_uc))
    .select_from(entry.join(seal, _SINCE).join(meter, meter.c.meter == entry.c.meter))
    .group_by(meter.c.area, entry.c.kind)
)


def report(conn: Connection, day: str, now_s: int, above: int, ends: dict[str, sealer.End]) -> str:
    """The report as JSON: `above`: number of the last entry of the day before; `ends`: of both chains."""
    span = {"above": above, "up_to": ends[ENTRY].seq}
    trial = balances.trial_balance(conn)
    stated = {
        "format": FORMAT,
        "day": day,
        "made_s": now_s,
        "entries": {"first": above + 1, "last": ends[ENTRY].seq},
        "audit": {"last": ends[AUDIT].seq},
        "by_kind": {kind: _sum(*rest) for kind, *rest in conn.execute(_BY_KIND, span)},
        "by_channel": _by_channel(conn, span),
        "by_area": _by_area(conn, span),
        "zero": {
            "accounts": len(trial),
            "debit_uc": sum(sums.debit_uc for sums in trial),
            "credit_uc": sum(sums.credit_uc for sums in trial),
            "sum_uc": sum(sums.balance_uc for sums in trial),
        },
        "differences": _differences(conn),
        "shadow": _shadow(conn),
    }
    return json.dumps(stated, sort_keys=True, separators=(",", ":"))


def lines(text: str, language: str) -> Iterator[str]:
    """A report for people, line by line, in one of `language.LANGUAGES`."""

    def told(what: str, **fields: object) -> str:
        return say(words.DAY[what], language, **fields)

    def row(called: str, sums: dict[str, int]) -> str:
        return "  " + told("row", name=called, counted=sums["counted"], amount=money(sums["amount_uc"]))

    stated = json.loads(text)
    yield told("title", day=stated["day"])
    yield told("rows", **stated["entries"])
    yield told("by_kind")
    for kind, sums in sorted(stated["by_kind"].items()):
        yield row(name(words.ENTRIES, kind, language), sums)
    yield told("by_channel")
    for channel, both in sorted(stated["by_channel"].items()):
        amount_uc = both["taken"]["amount_uc"] - both["given_back"]["amount_uc"]
        yield row(channel, {"counted": both["taken"]["counted"], "amount_uc": amount_uc})
    yield told("by_area")
    for area, kinds in sorted(stated["by_area"].items()):
        for kind, sums in sorted(kinds.items()):
            yield row(f"{area or told('none')} · {name(words.ENTRIES, kind, language)}", sums)
    zero = stated["zero"]
    amounts = {what: money(zero[f"{what}_uc"]) for what in ("debit", "credit", "sum")}
    yield told("zero", accounts=zero["accounts"], **amounts)
    found = stated["differences"]
    yield told("differences", counted=found["counted"], amount=money(found["amount_uc"]))
    for one in found["listed"]:
        amount = money(one["difference_uc"])
        yield "  " + told("difference", meter=one["meter"], amount=amount, since=one["since_s"])
    yield told("shadow", counted=stated["shadow"]["counted"], amount=money(stated["shadow"]["amount_uc"]))
    yield told("head", entry=stated["entries"]["last"], audit=stated["audit"]["last"])


def money(amount_uc: int) -> str:
    """An amount for people; micro-currency only where it is needed."""
    whole, rest = divmod(abs(amount_uc), 1_000_000)
    digits = f"{rest:06d}"
    short = digits[:2] + digits[2:].rstrip("0")
    return f"{'-' if amount_uc < 0 else ''}{whole}.{short}"


def _sum(counted: int, amount_uc: int) -> dict[str, int]:
    return {"counted": int(counted), "amount_uc": int(amount_uc)}


def _by_channel(conn: Connection, span: dict[str, int]) -> dict[str, dict[str, dict[str, int]]]:
    found: dict[str, dict[str, dict[str, int]]] = {}
    for what, query in (("taken", _TAKEN), ("given_back", _GIVEN)):
        for account, *sums in conn.execute(query, span):
            channel = account.removeprefix(accounts.of_channel(""))
            both = found.setdefault(channel, {"taken": _sum(0, 0), "given_back": _sum(0, 0)})
            both[what] = _sum(*sums)
    return found


def _by_area(conn: Connection, span: dict[str, int]) -> dict[str, dict[str, dict[str, int]]]:
    found: dict[str, dict[str, dict[str, int]]] = {}
    for area, kind, *sums in conn.execute(_BY_AREA, span):
        found.setdefault(area, {})[kind] = _sum(*sums)
    return found


def _differences(conn: Connection) -> dict[str, Any]:
    total = sweep.total_difference(conn)
    listed = [
        {"meter": topics.meter_name(row.meter), "difference_uc": row.difference_uc, "since_s": row.since_s}
        for row in sweep.listed(conn, limit=LISTED)
    ]
    return {"counted": total.meters, "amount_uc": total.amount_uc, "listed": listed}


def _shadow(conn: Connection) -> dict[str, Any]:
    total = shadow_days.total_difference(conn)
    return {"counted": total.days, "amount_uc": total.amount_uc}
