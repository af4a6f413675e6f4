"""What an operation of the API is: a row of a table from which routes, documents and tests are made."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from headend.access import areas
from headend.access.areas import EVERYWHERE
from headend.access.caller import Caller
from headend.store import UnknownMeter
from headend.web import wire
from headend.web.desk import Desk
from headend.web.problems import Problem

MAX_BODY = 16_384  # the largest request that most operations have use for, twice over

# RFC 9110 section 13.1.1, with what section 5.6.1.2 has a reader of lists pass over; tags of ASCII.
_TAG = '(W/)?"[!#-~]*"'
IF_MATCH = rf"^(\*|(,[ \t]*)*{_TAG}([ \t]*,([ \t]*{_TAG})?)*)$"

B = TypeVar("B", bound=msgspec.Struct)
Q = TypeVar("Q", bound=msgspec.Struct)


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No body, or no query."""


@dataclass(frozen=True)
class Call(Generic[B, Q]):
    """One request, read and checked: `path` holds the parts in braces as text."""

    desk: Desk
    caller: Caller
    path: Mapping[str, str]
    body: B
    query: Q
    if_match: str | None = None
    address: str = ""

    @property
    def meter(self) -> int:
        return wire.read_meter(self.path["meter"])

    def number(self, part: str, unknown: Callable[[str], Exception]) -> int:
        """The id that a part of the path is; raises `unknown` of its text where it is none."""
        found = wire.read_id(self.path[part])
        if found is None:
            raise unknown(self.path[part])
        return found

    def expect(self, current: str) -> None:
        """Raise Problem unless the request is meant for this state: its If-Match has to name the ETag `current`.

        Called in the transaction that changes the state.
        """
        if self.if_match is None:
            sentence = "If-Match: nothing given, the ETag that a GET answered, or *, expected."
            raise Problem("no_condition", sentence, field="If-Match")
        given = {tag.strip() for tag in self.if_match.split(",")}
        if not given & {"*", current}:
            sentence = f"If-Match: {self.if_match[:60]!r} given, {current} expected: look again, then change it."
            raise Problem("changed_meanwhile", sentence, field="If-Match")

    async def hold_to_area(self, meter: int) -> None:
        """For a meter that is named elsewhere than in the path: raises UnknownMeter unless the caller may act there."""
        if EVERYWHERE not in self.caller.areas:
            area = await self.desk.read(areas.area_of, "meter", meter)
            if area is None or not self.caller.sees(area):
                raise UnknownMeter(meter)


@dataclass(frozen=True)
class Answer:
    """A status with its body, and where the thing that was made is found."""

    status: int
    body: msgspec.Struct
    headers: Mapping[str, str] = field(default_factory=dict)


def ok(body: msgspec.Struct) -> Answer:
    """What most acts are answered with."""
    return Answer(200, body)


Handler = Callable[[Call[B, Q]], Awaitable[Answer]]


@dataclass(frozen=True)
class Operation(Generic[B, Q]):
    """`method` on `path` (below /api/v1). The handler's docstring is its documentation: first line the summary.

    `scope`: the permission that the caller must hold; None: open to all. It must be held where the thing in the path
    stands, if its name is one of `access.areas.OF`, and else everywhere, unless `by_area`: then the handler itself
    keeps to `caller.areas`. `secret`: the answer holds one, so it is not kept for an Idempotency-Key. `edits`: wants
    If-Match (`Call.expect`). `most_bytes`: of a body. `problems`: codes beyond those that every operation with its
    traits can answer.
    """

    method: str
    path: str
    handler: Handler[B, Q]
    scope: str | None
    answers: Mapping[int, type[msgspec.Struct]]
    body: type[B]
    query: type[Q]
    problems: tuple[str, ...] = ()
    by_area: bool = False
    secret: bool = False
    edits: bool = False
    most_bytes: int = MAX_BODY

    @property
    def placed(self) -> str | None:
        """The part of the path that stands in an area, if one does."""
        parts = (part[1:-1] for part in self.path.split("/") if part.startswith("{"))
        return next((part for part in parts if part in areas.OF), None)

    @property
    def name(self) -> str:
        return getattr(self.handler, "__name__", "operation")
