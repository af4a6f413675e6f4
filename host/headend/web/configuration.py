"""The audit of configuration: what differs between what is wanted of meters and what they report."""

import csv
import io
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, func, select

from headend.access.areas import within
from headend.access.permissions import ADMIN, ORDERS, READ
from headend.configuration import aspects, policy, repair, words
from headend.language import LANGUAGES
from headend.store.schema import meter
from headend.store.schema_configuration import configuration_finding, configuration_round
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import MeterNumber, Moment

MAX_PAGE = 500
MAX_ID = 2**53
MAX_FILE = 100_000  # lines

Aspect = Literal["mode", "tariff", "limits", "keys", "key", "firmware", "clock"]
Said = Annotated[dict[str, str], Meta(description="By language.")]


class ConfigurationFinding(msgspec.Struct):
    """What differs of a meter."""

    finding: int
    meter: MeterNumber
    label: str
    area: str
    aspect: Aspect
    says: Said
    wanted: str
    reported: str
    found: Moment
    seen: Annotated[Moment, Meta(description="When the audit saw it last.")]
    settled: Annotated[Moment | None, Meta(description="When the meter reported right; null: it stands.")]
    age_s: int
    proposal: Annotated[int | None, Meta(description="The list that is to mend it.")]


class ConfigurationFindings(msgspec.Struct):
    """Findings, newest first."""

    findings: list[ConfigurationFinding]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class ConfigurationQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which findings."""

    aspect: Aspect | None = None
    settled: Annotated[bool, Meta(description="Those that are settled, instead of those that stand.")] = False
    before: Annotated[int, Meta(ge=1, le=MAX_ID)] = MAX_ID
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100


class AuditPolicy(msgspec.Struct, forbid_unknown_fields=True):
    """Limits of the audit."""

    drift_s: Annotated[int, Meta(ge=5, le=3_600, description="How far off a clock is let be.")]
    fresh_s: Annotated[
        int, Meta(ge=3_600, le=90 * 86_400, description="A meter that showed what it holds longer ago is asked.")
    ]


class Configuration(msgspec.Struct):
    """How the audit stands."""

    standing: Annotated[dict[str, int], Meta(description="How many findings stand, by aspect.")]
    titles: Annotated[dict[str, Said], Meta(description="The aspects in words.")]
    policy: AuditPolicy
    begun: Annotated[Moment | None, Meta(description="The newest audit of the whole fleet.")]
    done: Moment | None
    meters: Annotated[int, Meta(description="How many it has looked at.")]


class Repairs(msgspec.Struct):
    """Lists that were proposed."""

    proposals: list[int]


async def get_configuration(call: Call[Nothing, Nothing]) -> Answer:
    """How the audit of configuration stands."""
    return Answer(200, await call.desk.read(summary, call.caller.areas))


async def list_configuration_findings(call: Call[Nothing, ConfigurationQuery]) -> Answer:
    """What differs between what is wanted of meters and what they report."""
    query, now_s = call.query, call.desk.clock.now_s()
    rows = await call.desk.read(listed, call.caller.areas, query.aspect or "", query.settled, query.before, query.limit)
    more = rows[-1].id if len(rows) == query.limit else None
    return Answer(200, ConfigurationFindings([shown(row, now_s) for row in rows], more))


async def put_configuration_policy(call: Call[AuditPolicy, Nothing]) -> Answer:
    """Set the limits of the audit."""
    desk, rules = call.desk, policy.Policy(call.body.drift_s, call.body.fresh_s)

    def done(conn: Connection, now_s: int) -> Configuration:
        policy.put(conn, now_s, call.caller.actor, rules)
        return summary(conn, call.caller.areas)

    return await desk.act(done, desk.clock.now_s(), answer=lambda found: Answer(200, found))


async def repair_configuration(call: Call[Nothing, Nothing]) -> Answer:
    """Propose what mends all that stands and is not taken up yet, for a second person to approve.

    The daily audit proposes it by itself, once all meters were looked at.
    """
    desk = call.desk
    return await desk.act(
        repair.propose, desk.clock.now_s(), call.caller.actor, answer=lambda made: Answer(202, Repairs(made))
    )


def summary(conn: Connection, seen: tuple[str, ...]) -> Configuration:
    """How it stands, in the areas that the reader sees."""
    standing = (
        select(configuration_finding.c.aspect, func.count().label("number"))
        .join(meter, meter.c.meter == configuration_finding.c.meter)
        .where(configuration_finding.c.settled_s.is_(None), within(meter.c.area, seen))
        .group_by(configuration_finding.c.aspect)
    )
    found = {row.aspect: row.number for row in conn.execute(standing)}
    newest = select(configuration_round).order_by(configuration_round.c.day.desc()).limit(1)
    last = conn.execute(newest).one_or_none()
    rules = policy.get(conn)
    return Configuration(
        {aspect: found.get(aspect, 0) for aspect in aspects.ASPECTS},
        {aspect: dict(zip(LANGUAGES, text, strict=True)) for aspect, text in words.ASPECTS.items()},
        AuditPolicy(rules.drift_s, rules.fresh_s),
        None if last is None else wire.moment(last.begun_s),
        None if last is None else wire.moment_or_none(last.done_s),
        0 if last is None else last.meters,
    )


def listed(
    conn: Connection, seen: tuple[str, ...], aspect: str, settled: bool, before: int, limit: int
) -> list[Row[Any]]:
    """Rows of `configuration_finding` with label and area of their meters, newest first."""
    some = (
        select(configuration_finding, meter.c.label, meter.c.area)
        .join(meter, meter.c.meter == configuration_finding.c.meter)
        .where(configuration_finding.c.id < before, within(meter.c.area, seen))
    )
    stands = configuration_finding.c.settled_s
    some = some.where(stands.is_not(None) if settled else stands.is_(None))
    if aspect:
        some = some.where(configuration_finding.c.aspect == aspect)
    return list(conn.execute(some.order_by(configuration_finding.c.id.desc()).limit(limit)).all())


def shown(row: Row[Any], now_s: int) -> ConfigurationFinding:
    """A finding for people and programs."""
    ended_s = now_s if row.settled_s is None else row.settled_s
    return ConfigurationFinding(
        row.id,
        wire.meter_name(row.meter),
        row.label,
        row.area,
        row.aspect,
        {language: aspects.sentence(row, language) for language in LANGUAGES},
        row.wanted,
        row.reported,
        wire.moment(row.found_s),
        wire.moment(row.seen_s),
        wire.moment_or_none(row.settled_s),
        max(ended_s - row.found_s, 0),
        row.proposal,
    )


def file(conn: Connection, seen: tuple[str, ...], language: str) -> str:
    """All that stands, as CSV."""
    at = LANGUAGES.index(language)
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow([text[at] for text in words.COLUMNS])
    for row in listed(conn, seen, "", False, MAX_ID, MAX_FILE):
        told = row.area, words.ASPECTS[row.aspect][at], aspects.sentence(row, language)
        lines.writerow([wire.meter_name(row.meter), *told, wire.utc(row.found_s), row.proposal or ""])
    return out.getvalue()


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/configuration",
        get_configuration,
        scope=READ,
        answers={200: Configuration},
        body=Nothing,
        query=Nothing,
        by_area=True,
    ),
    Operation(
        "GET",
        "/configuration/findings",
        list_configuration_findings,
        scope=READ,
        answers={200: ConfigurationFindings},
        body=Nothing,
        query=ConfigurationQuery,
        by_area=True,
    ),
    Operation(
        "PUT",
        "/configuration/policy",
        put_configuration_policy,
        scope=ADMIN,
        answers={200: Configuration},
        body=AuditPolicy,
        query=Nothing,
    ),
    Operation(
        "POST",
        "/configuration/repair",
        repair_configuration,
        scope=ORDERS,
        answers={202: Repairs},
        body=Nothing,
        query=Nothing,
    ),
)
