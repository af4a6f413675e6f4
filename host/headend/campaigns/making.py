"""The dry run: every meter of a selection is looked at, and nothing is stated.

Made in parts, by `follow`: looking reads without a lock, each part is noted in a short transaction. Once all are looked
at, those that are in are drawn into groups (by a hash of campaign and meter, so that nobody picks the first ones), and
the whole is bound by a digest, which the proposal names.
"""

import hashlib
import heapq
import json
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.access import areas
from headend.campaigns import checking, plan, selection, words  # noqa: F401 - the words of the audit
from headend.campaigns.lifecycle import PREPARING, change, locked, move, told
from headend.campaigns.plan import Plan
from headend.firmware import images
from headend.gate import budget, policy
from headend.gate.kinds import LISTS
from headend.refusals import Refused
from headend.store import ORDERS, Store, sql
from headend.store.schema import meter
from headend.store.schema_campaign import campaign, campaign_feeder, campaign_meter

PART = 200  # meters that are looked at for one transaction
MAX_WHY = 200

_MAKE = insert(campaign).returning(campaign.c.id)
_PREPARING = select(campaign).where(campaign.c.state == PREPARING).order_by(campaign.c.id).limit(1)
_ALL = select(campaign_meter).where(campaign_meter.c.campaign == bindparam("of")).order_by(campaign_meter.c.meter)
_PLACES = (
    select(meter.c.area)
    .join(campaign_meter, campaign_meter.c.meter == meter.c.meter)
    .where(campaign_meter.c.campaign == bindparam("of"), campaign_meter.c.verdict == checking.IN)
)
_GROUP = update(campaign_meter).where(
    campaign_meter.c.campaign == bindparam("of", type_=BigInteger),
    campaign_meter.c.meter == bindparam("at", type_=BigInteger),
)


def make(
    conn: Connection,
    now_s: int,
    kind: str,
    terms: dict[str, Any],
    chosen: dict[str, Any],
    given: dict[str, Any],
    actor: str,
    why: str,
    seen: tuple[str, ...] = ("",),
) -> int:
    """Ask for the dry run of a campaign; returns its id. Raises Refused; OrderError for a body that cannot be.

    `kind`: `gate.kinds.LISTS` · `terms`: what is stated to each meter, the payload of a list without its meters ·
    `chosen`: `selection` · `given`: `plan` · `seen`: the areas that its author may act in.
    """
    what = LISTS.get(kind)
    if what is None:
        raise Refused("kind", kind, f"one of {', '.join(LISTS)}")
    unknown = sorted(set(terms) - what.keys)
    if unknown:
        raise Refused("terms", unknown[0], f"some of {', '.join(sorted(what.keys)) or 'nothing'}")
    if "image" in terms:
        terms = _with_body(conn, terms)
    what.check(terms)
    terms_of = plan.read(given)
    selection.check(chosen)
    if not 0 < len(why) <= MAX_WHY or not why.isprintable():
        raise Refused("why", why, f"1..{MAX_WHY} printable characters")
    row = {
        "kind": kind,
        "author": actor,
        "why": why,
        "area": _narrowest(seen, chosen),
        "seen": json.dumps(list(seen)),
        "selection": json.dumps(chosen, sort_keys=True, separators=(",", ":")),
        "terms": json.dumps(terms, sort_keys=True),
        "plan": json.dumps(plan.written(terms_of), sort_keys=True),
        "state": PREPARING,
        "made_s": now_s,
        "changed_s": now_s,
    }
    made = int(conn.execute(_MAKE, row).scalar_one())
    told(conn, now_s, made, actor, "make", PREPARING, why)
    audit.record(conn, now_s, actor, "campaign.made", f"campaign:{made}", {"kind": kind})
    return made


def _with_body(conn: Connection, terms: dict[str, Any]) -> dict[str, Any]:
    """The order that names an image which can be used."""
    number = terms["image"]
    if isinstance(number, bool) or not isinstance(number, int):
        raise Refused("image", number, "the number of an image")
    try:
        body = images.body(images.usable(conn, number)).hex()
    except images.UnknownImage as unknown:  # a value that does not fit, of a request that is for something else
        raise Refused(unknown.field, number, unknown.expected) from unknown
    if terms.get("body", body) != body:
        raise Refused("body", terms["body"], f"what names image {number}")
    return {**terms, "body": body}


def _narrowest(seen: tuple[str, ...], chosen: Any) -> str:
    """Who may see a campaign before its dry run tells where its meters stand."""
    mine = areas.narrowed(seen, chosen.get("area", areas.EVERYWHERE)) if isinstance(chosen, dict) else ()
    return mine[0] if len(mine) == 1 else areas.EVERYWHERE


def follow(store: Store, now_s: int) -> bool:
    """Make the next part of a dry run; whether there is more to do at once."""
    row = store.read(lambda conn: conn.execute(_PREPARING).one_or_none())
    if row is None:
        return False
    looked = store.read(_look, now_s, row)
    if looked:
        store.write(_note, row.id, row.at_meter, looked, lane=ORDERS).result()
    else:
        digest, groups, drawn = store.read(_whole, row)
        store.write(_close, now_s, row.id, digest, groups, drawn, lane=ORDERS).result()
    return True


def _look(conn: Connection, now_s: int, row: Row[Any]) -> list[tuple[Any, ...]]:
    """Rows of `campaign_meter` of the next meters."""
    chosen = _chosen(row)
    task = checking.Task(row.id, row.kind, json.loads(row.terms), chosen, plan.read(json.loads(row.plan)))
    found = []
    for number, facts in selection.some(conn, chosen, json.loads(row.seen), row.at_meter, PART):
        says = checking.check(conn, now_s, task, facts)
        found.append((row.id, number, says.verdict, 0, says.rule, says.evidence, *says.said))
    return found


def _chosen(row: Row[Any]) -> dict[str, Any]:
    chosen: dict[str, Any] = json.loads(row.selection)
    return chosen


def _note(conn: Connection, campaign_id: int, after: int, looked: list[tuple[Any, ...]]) -> None:
    row = locked(conn, campaign_id)
    if row.state != PREPARING or row.at_meter != after:
        return  # given up meanwhile, or another worker's part
    sql.copy_in(conn, campaign_meter, looked)
    change(conn, campaign_id, at_meter=looked[-1][1])


def _whole(conn: Connection, row: Row[Any]) -> tuple[str, list[int], list[tuple[int, int]]]:
    """The digest of a dry run, how many meters each group has, and (meter, group) of those beyond the first group that
    stay in an earlier one than the last."""
    terms_of: Plan = plan.read(json.loads(row.plan))
    digest = hashlib.sha256(f"openprepay campaign 1\n{row.kind}\n{row.terms}\n{row.plan}\n".encode())
    meters = []
    for one in conn.execute(_ALL, {"of": row.id}):
        digest.update(f"{one.meter} {one.verdict} {one.rule} {one.evidence}\n".encode())
        if one.verdict == checking.IN:
            meters.append(one.meter)
    sizes = plan.sizes(terms_of, len(meters))
    early = sum(sizes[:-1])
    drawn = heapq.nsmallest(early, meters, key=lambda number: _lot(row.id, number))
    groups: list[tuple[int, int]] = []
    for at, size in enumerate(sizes[:-1]):
        groups += [(number, at) for number in drawn[:size]]
        drawn = drawn[size:]
    return digest.hexdigest(), sizes, groups


def _lot(campaign_id: int, number: int) -> bytes:
    return hashlib.sha256(b"%d %d" % (campaign_id, number)).digest()


def _close(
    conn: Connection, now_s: int, campaign_id: int, digest: str, sizes: list[int], groups: list[tuple[int, int]]
) -> None:
    row = locked(conn, campaign_id)
    if row.state != PREPARING:
        return
    last = len(sizes) - 1
    of_list = {"of": campaign_id, "grp": last}
    conn.execute(update(campaign_meter).where(campaign_meter.c.campaign == bindparam("of")), of_list)
    if groups:
        conn.execute(_GROUP, [{"of": campaign_id, "at": number, "grp": at} for number, at in groups])
    feeders, common = _places(conn, campaign_id)
    area = common if feeders else row.area
    if feeders:
        conn.execute(insert(campaign_feeder), [{"campaign": campaign_id, **one} for one in feeders])
    move(conn, now_s, row, "ready", digest=digest, groups=json.dumps(sizes), area=area, at_meter=0)


def _places(conn: Connection, campaign_id: int) -> tuple[list[dict[str, Any]], str]:
    """Each feeder with how many meters it has, and the path that all have in common."""
    level = policy.get(conn).feeder_level
    found: dict[str, int] = {}
    common: list[str] | None = None
    for (area,) in conn.execute(_PLACES, {"of": campaign_id}):
        feeder = budget.prefix(area, level)
        found[feeder] = found.get(feeder, 0) + 1
        path = area.split("/") if area else []
        common = path if common is None else common
        while common != path[: len(common)]:
            common = common[:-1]
    return [{"feeder": feeder, "meters": number} for feeder, number in found.items()], "/".join(common or [])
