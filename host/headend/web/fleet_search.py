"""Finding anything of the fleet by whatever somebody has of it."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headend.access.permissions import PERSONS, READ
from headend.fleet import search
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.people import PSEUDONYM
from headend.web.wire import MeterNumber


class SearchQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody has of it."""

    q: Annotated[str, Meta(min_length=1, max_length=search.MAX_TEXT)]
    limit: Annotated[int, Meta(ge=1, le=search.MAX_HITS)] = 20


class SearchHit(msgspec.Struct):
    """What was found."""

    by: Annotated[
        Literal["meter", "pan", "serial", "label", "address", "supply_point", "node", "holder"],
        Meta(description="What of it fits."),
    ]
    text: str
    area: str
    meter: MeterNumber | None
    supply_point: str | None
    node: int | None
    label: str
    state: Annotated[str, Meta(description="Of a meter: where it is in its life.")]


class SearchResult(msgspec.Struct):
    """What was found, the best first."""

    hits: list[SearchHit]
    more: Annotated[bool, Meta(description="There is more; ask with more of it.")]
    partly: Annotated[bool, Meta(description="Not all labels were looked through; ask with more of it.")]


async def search_fleet(call: Call[Nothing, SearchQuery]) -> Answer:
    """Find a meter, a supply point or a part of the grid by whatever somebody has of it.

    A person's pseudonym finds the meters that the person holds, for whoever may see persons; it is audited.
    """
    query, caller = call.query, call.caller
    if re.fullmatch(PSEUDONYM, query.q) and caller.may(PERSONS):
        held = await call.desk.write(search.holder, call.desk.clock.now_s(), query.q, caller.areas, caller.actor)
        if held:
            return ok(SearchResult([_hit(one) for one in held], False, False))
    found = await call.desk.read(search.find, query.q, caller.areas, query.limit)
    return ok(SearchResult([_hit(one) for one in found.hits], found.more, found.partly))


def _hit(one: search.Hit) -> SearchHit:
    meter = None if one.meter is None else wire.meter_name(one.meter)
    return SearchHit(one.by, one.text, one.area, meter, one.supply_point, one.node, one.label, one.state)  # type: ignore[arg-type]


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/search",
        search_fleet,
        scope=READ,
        answers={200: SearchResult},
        body=Nothing,
        query=SearchQuery,
        by_area=True,
    ),
)
