"""What one person proposes and another decides. Generic: a kind says who may approve, and what approval does.

A proposal is a kind, a payload (canonical JSON), its author and the policy in force; the SHA-256 of these is what an
approval names. Nothing of it ever changes: another list, another body, another policy is another proposal. Every step
is audited. A proposal that is over budget goes on at the pace of its kind (`pace`).

The row of the proposal is locked before those of meters, never after them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.access import areas, four_eyes
from headend.access.permissions import APPROVE
from headend.gate import policy, words
from headend.language import LANGUAGES
from headend.refusals import Refused
from headend.store.schema_gate import proposal
from meterlink.labels import Text

PREPARING = "preparing"
OPEN = "open"
APPROVED = "approved"
DONE = "done"
REFUSED = "refused"
WITHDRAWN = "withdrawn"
EXPIRED = "expired"
VOID = "void"
RECALLING = "recalling"
RECALLED = "recalled"
STATES = tuple(words.PROPOSAL_STATES)
GIVEN_UP = (REFUSED, WITHDRAWN, EXPIRED)  # what waits of a long list is dropped in parts

MAX_PAYLOAD = 32_000_000  # characters
MAX_WHY = 200

Payload = Any
"""What JSON can say without floating-point numbers."""


@dataclass(frozen=True)
class Kind:
    """What can be proposed.

    `permission`: who may approve it · `carry_out(conn, now_s, payload, author, approver)`: what approval does, in its
    own transaction; it raises Refused where the payload fits no longer · `text`: what is proposed, in words, with the
    fields that `fields(payload)` gives (a pair is said in the same language) · `begin(conn, now_s, id, payload,
    author)`: checks what is proposed and prepares it · `give_up(conn, now_s, row, event, note)`: it ends without
    approval · `go_on(conn, now_s, row)`: carries an approved one further, or one that is being prepared, and returns
    when to go on, or None at its end · `area(conn, payload)`: the narrowest area that all of it lies in ·
    `subject(row)`: aspect and selector
    of the orders of a list.
    """

    permission: str
    carry_out: Callable[[Connection, int, Payload, str, str], object]
    text: Text
    fields: Callable[[Payload], Mapping[str, object]] = lambda payload: payload if isinstance(payload, dict) else {}
    begin: Callable[[Connection, int, int, Payload, str], None] | None = None
    give_up: Callable[[Connection, int, Row[Any], str, str], None] | None = None
    go_on: Callable[[Connection, int, Row[Any]], int | None] | None = None
    area: Callable[[Connection, Payload], str] = lambda _conn, _payload: ""
    subject: Callable[[Row[Any]], tuple[int, int]] | None = None


# Kind -> what it is. Each package adds its own; those of the gate stand in `kinds.py`.
KINDS: dict[str, Kind] = {}


class UnknownProposal(Refused):
    """No proposal has this id."""

    def __init__(self, proposal_id: object) -> None:
        super().__init__("proposal", proposal_id, "the id of a proposal")


class OtherDigest(Refused):
    """What is approved is not what was proposed, or not under the policy in force."""


areas.OF["proposal"] = select(proposal.c.area).where(proposal.c.id == bindparam("id"))

_ROW = select(proposal).where(proposal.c.id == bindparam("of"))
_LOCKED = _ROW.with_for_update()
_MAKE = insert(proposal).returning(proposal.c.id)
_CHANGE = update(proposal).where(proposal.c.id == bindparam("of"))
_OPEN_OF = (
    select(proposal)
    .where(proposal.c.state == OPEN, proposal.c.kind == bindparam("what"), proposal.c.expires_s >= bindparam("now"))
    .order_by(proposal.c.id)
    .limit(1)
)


# What registers kinds where it is loaded: whoever decides on one has to know how it is carried out.
_PROVIDERS = ("headend.gate.kinds", "headend.ledger.refunds.deciding", "headend.registry.ending")


@cache
def _load() -> None:
    for provider in _PROVIDERS:
        import_module(provider)


def kind_of(name: str) -> Kind:
    """Raises Refused for a kind that nobody registered."""
    if name not in KINDS:
        _load()
    kind = KINDS.get(name)
    if kind is None:
        raise Refused("kind", name, f"one of {', '.join(sorted(KINDS))}")
    return kind


def canonical(payload: Payload) -> str:
    """The one JSON text of a payload; raises Refused for a floating-point number."""
    _no_floats(payload)
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@lru_cache(maxsize=4)
def parsed(payload: str) -> Payload:
    """What a stored payload says; whoever gets it changes nothing in it. A long list is read once, not for each part
    of it that is carried out."""
    return json.loads(payload)


def _no_floats(value: Payload) -> None:
    if isinstance(value, float):
        raise Refused("payload", value, "whole numbers, and text for amounts")
    if isinstance(value, list) and set(map(type, value)) <= {int}:
        return  # a list of meters is long
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        _no_floats(one)


def digest_of(kind: str, payload: str, policy_version: int, author: str) -> str:
    """What an approval names: SHA-256 over kind, payload, policy version and author, hexadecimal."""
    bound = json.dumps([kind, payload, policy_version, author], separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(b"openprepay proposal 1\n" + bound.encode()).hexdigest()


def propose(
    conn: Connection,
    now_s: int,
    kind: str,
    items: Payload,
    actor: str,
    why: str,
    *,
    expires_s: int | None = None,
) -> int:
    """Propose; returns the proposal's id. `items`: the payload · `expires_s`: by when it is decided and carried out
    (by default as the policy says). Raises Refused."""
    what = kind_of(kind)
    text = canonical(items)
    if len(text) > MAX_PAYLOAD:
        raise Refused("payload", len(text), f"at most {MAX_PAYLOAD} characters")
    if len(why) > MAX_WHY or not (why.isprintable() or not why):
        raise Refused("why", why, f"at most {MAX_WHY} printable characters")
    rules = policy.get(conn)
    ends_s = now_s + rules.proposal_s if expires_s is None else expires_s
    if not now_s < ends_s <= now_s + 60 * 86_400:
        raise Refused("expires_s", ends_s, "a time to come, within 60 days")
    digest = digest_of(kind, text, rules.version, actor)
    row = {
        "kind": kind,
        "payload": text,
        "digest": digest,
        "policy_version": rules.version,
        "author": actor,
        "why": why,
        "area": what.area(conn, items),
        "proposed_s": now_s,
        "expires_s": ends_s,
        "state": OPEN,
        "next_s": ends_s + 1,
    }
    made = int(conn.execute(_MAKE, row).scalar_one())
    if what.begin is not None:
        what.begin(conn, now_s, made, items, actor)
    audit.record(conn, now_s, actor, "proposal.made", f"proposal:{made}", {"kind": kind, "digest": digest})
    return made


def get(conn: Connection, proposal_id: int) -> Row[Any]:
    """The `proposal` row; raises UnknownProposal."""
    return _get(conn, proposal_id, _ROW)


def locked(conn: Connection, proposal_id: int) -> Row[Any]:
    """As `get`, and nobody else decides on it until the transaction ends. Before any meter is locked."""
    return _get(conn, proposal_id, _LOCKED)


def _get(conn: Connection, proposal_id: int, query: Any) -> Row[Any]:
    row: Row[Any] | None = conn.execute(query, {"of": proposal_id}).one_or_none()
    if row is None:
        raise UnknownProposal(proposal_id)
    return row


def open_of(conn: Connection, now_s: int, kind: str) -> Row[Any] | None:
    """The oldest of a kind that waits for a second person."""
    return conn.execute(_OPEN_OF, {"what": kind, "now": now_s}).one_or_none()


def approve(conn: Connection, now_s: int, proposal_id: int, digest: str, actor: str) -> object:
    """Approve what was proposed, as `digest` names it, and carry it out; returns what that gives.

    Raises UnknownProposal, OtherDigest, Refused: also where author and approver are not two (`access.four_eyes`).
    """
    row = locked(conn, proposal_id)
    _check_open(now_s, row)
    bound = digest_of(row.kind, row.payload, policy.get(conn).version, row.author)
    if not digest == row.digest == bound:
        raise OtherDigest("digest", digest, f"{bound}, what was proposed, under the policy in force")
    four_eyes.refuse_same(conn, row.author, actor, waited_s=now_s - row.proposed_s)
    kind = kind_of(row.kind)
    change(
        conn,
        proposal_id,
        state=DONE if kind.go_on is None else APPROVED,
        next_s=None if kind.go_on is None else now_s,
        decided_s=now_s,
        approver=actor,
    )
    audit.record(conn, now_s, actor, "proposal.approved", f"proposal:{proposal_id}", {"digest": digest})
    return kind.carry_out(conn, now_s, parsed(row.payload), row.author, actor)


def refuse(conn: Connection, now_s: int, proposal_id: int, actor: str, why: str) -> None:
    """A second person says no. Raises Refused."""
    row = locked(conn, proposal_id)
    _check_open(now_s, row)
    _end(conn, now_s, row, REFUSED, "cancel", f"refused by {actor}: {why}", {"decided_s": now_s, "approver": actor})
    audit.record(conn, now_s, actor, "proposal.refused", f"proposal:{proposal_id}", {"why": why})


def withdraw(
    conn: Connection, now_s: int, proposal_id: int, actor: str, why: str = "", *, as_approver: bool = False
) -> None:
    """Take back what is open, or what of an approved list waits yet: its author may, and `as_approver` whoever may
    approve it. What was sent of it is given back by a recall. Raises Refused."""
    row = locked(conn, proposal_id)
    if row.state not in (APPROVED, PREPARING):
        _check_open(now_s, row)
    if actor != row.author and not as_approver:
        raise Refused("actor", actor, f"{row.author}, who proposed it")
    _end(conn, now_s, row, WITHDRAWN, "cancel", f"withdrawn by {actor}: {why}", {})
    audit.record(conn, now_s, actor, "proposal.withdrawn", f"proposal:{proposal_id}", {"why": why})


def expire(conn: Connection, now_s: int, proposal_id: int) -> None:
    """Its time ran out: nobody decided, or not all of it came to its turn."""
    row = locked(conn, proposal_id)
    if row.state in (PREPARING, OPEN, APPROVED) and row.expires_s < now_s:
        _end(conn, now_s, row, EXPIRED, "expire", "the time of its proposal ran out", {})
        audit.record(conn, now_s, "system", "proposal.expired", f"proposal:{proposal_id}")


def _end(conn: Connection, now_s: int, row: Row[Any], state: str, event: str, note: str, facts: dict[str, Any]) -> None:
    change(conn, row.id, state=state, next_s=None, note=note[:MAX_WHY], **facts)
    kind = kind_of(row.kind)
    if kind.give_up is not None:
        kind.give_up(conn, now_s, row, event, note[:MAX_WHY])


def change(conn: Connection, proposal_id: int, **columns: Any) -> None:
    """Write how a proposal stands; its row is locked."""
    conn.execute(_CHANGE, {"of": proposal_id, **columns})


def sentence(row: Row[Any], language: str) -> str:
    """What is proposed, in words."""
    kind = kind_of(row.kind)
    at = LANGUAGES.index(language)
    fields = kind.fields(parsed(row.payload))
    told = {name: value[at] if isinstance(value, tuple) else value for name, value in fields.items()}
    return kind.text[at].format(**told)


def _check_open(now_s: int, row: Row[Any]) -> None:
    if row.state != OPEN:
        raise Refused("proposal", row.id, f"one that is open; this one is {row.state}")
    if row.expires_s < now_s:
        raise Refused("proposal", row.id, "one that is open; the time of this one ran out")


__all__ = [
    "APPROVE",
    "KINDS",
    "STATES",
    "Kind",
    "OtherDigest",
    "UnknownProposal",
    "approve",
    "canonical",
    "expire",
    "get",
    "open_of",
    "propose",
    "refuse",
    "sentence",
    "withdraw",
]
