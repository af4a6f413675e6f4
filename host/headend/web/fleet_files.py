"""Files of the fleet: taken in line by line, and given out by pages."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import ADMIN, READ
from headend.fleet import csv_lines, exporting, importing
from headend.fleet.import_lines import Given
from headend.fleet.importing import Undone
from headend.web import bodies_json, tariff_json
from headend.web.bodies_json import LimitsBody
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.tariff_json import TariffBody

MAX_TEXT = 1_000_000
MAX_PAGE = 500

FileKind = Literal["grid", "types", "points", "meters"]


class FleetFile(msgspec.Struct, forbid_unknown_fields=True):
    """A file of the fleet, CSV with a header. Longer ones are for `openprepay fleet import`."""

    file: FileKind
    text: Annotated[str, Meta(max_length=MAX_TEXT)]
    dry_run: Annotated[bool, Meta(description="Try every line, store nothing.")] = True
    skip_bad: Annotated[bool, Meta(description="Store the lines that fit where others do not.")] = False
    tariff: Annotated[TariffBody | None, Meta(description="Of new meters whose line has none.")] = None
    limits: LimitsBody | None = None


class BadLine(msgspec.Struct):
    """What is wrong with a line."""

    line: Annotated[int, Meta(description="The header is line 1.")]
    field: str
    value: str
    expected: str


class ChangedLine(msgspec.Struct):
    """A line that changes a meter which is there."""

    line: int
    changes: Annotated[str, Meta(examples=["link: mqtt -> modbus tcp://10.0.0.8:502?unit=3"])]


class LineCounts(msgspec.Struct):
    """What became of the lines."""

    new: int
    changed: int
    same: int
    problem: int


class FleetFileReport(msgspec.Struct):
    """What an import found, and whether anything was stored."""

    stored: bool
    counts: LineCounts
    problems: Annotated[list[BadLine], Meta(description="The first 1000.")]
    changes: Annotated[list[ChangedLine], Meta(description="What lines change of meters, the first 1000.")]


class ExportQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of which file."""

    file: FileKind
    after: Annotated[str, Meta(max_length=40, description="`next_after` of the page before.")] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE


class FleetFilePage(msgspec.Struct):
    """Lines of a file; the header is on the first page."""

    text: str
    next_after: str | None


async def import_file(call: Call[FleetFile, Nothing]) -> Answer:
    """Take in a file of the fleet, or try to: each line is told of; where one does not fit nothing is stored, unless
    those are to be left out."""
    body, desk = call.body, call.desk
    told = Given(
        call.caller.actor,
        tariff_json.read_tariff(body.tariff).encode() if body.tariff else b"",
        bodies_json.read_limits(body.limits).encode() if body.limits else b"",
        desk.new_key_version,
    )
    try:
        answer = await desk.act(_import, desk.clock.now_s(), body, told, answer=lambda made: ok(_report(made)))
    except Undone as undone:
        report = importing.Report()
        report.take(undone.outcomes)
        return ok(_report(report))
    desk.wake()
    return answer


async def export_file(call: Call[Nothing, ExportQuery]) -> Answer:
    """A page of a file of the fleet, as an import takes it, of the areas of whoever asks."""
    query = call.query
    lines, after = await call.desk.read(exporting.page, query.file, query.after, query.limit, call.caller.areas)
    text = "".join(csv_lines.write(query.file, lines, header=not query.after))
    return ok(FleetFilePage(text, after or None))


def _import(conn: Connection, now_s: int, body: FleetFile, told: Given) -> importing.Report:
    return importing.at_once(conn, now_s, body.file, body.text, told, dry_run=body.dry_run, skip_bad=body.skip_bad)


def _report(report: importing.Report) -> FleetFileReport:
    problems = [BadLine(one.line, one.field, one.value, one.expected) for one in report.problems]
    changes = [ChangedLine(one.line, one.says) for one in report.changes]
    return FleetFileReport(report.stored, LineCounts(**report.counts), problems, changes)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/fleet/imports",
        import_file,
        scope=ADMIN,
        answers={200: FleetFileReport},
        body=FleetFile,
        query=Nothing,
        most_bytes=4 * MAX_TEXT,
    ),
    Operation(
        "GET",
        "/fleet/exports",
        export_file,
        scope=READ,
        answers={200: FleetFilePage},
        body=Nothing,
        query=ExportQuery,
        by_area=True,
    ),
)
