"""Whether the head end is alive, and whether it can do its work."""

import asyncio
from importlib import metadata
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, text

from headend.store import READS
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import Moment


class Health(msgspec.Struct):
    """The program answers."""

    status: str
    version: str
    currency: Annotated[int, Meta(description="Of the books and of every amount here: ISO 4217 numeric.")]
    time: Moment


class Readiness(msgspec.Struct):
    """Whether it can take payments and reach meters."""

    ready: bool
    trouble: Annotated[dict[str, str], Meta(description="What is wrong, by what is affected; empty when ready.")]


WRITE_S = 10  # a database in which nothing is written for so long takes no payments


async def get_health(call: Call[Nothing, Nothing]) -> Answer:
    """Whether the program answers. Says nothing about what it needs: see `/ready`."""
    desk = call.desk
    return Answer(200, Health("ok", version(), desk.currency, wire.moment(desk.clock.now_s())))


async def get_ready(call: Call[Nothing, Nothing]) -> Answer:
    """Whether the database answers and takes what is written, the dispatcher runs and the links stand."""
    trouble = dict(call.desk.trouble())
    try:
        await call.desk.read(_answers)
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer is "not ready"
        trouble["database"] = f"It does not answer: {type(error).__name__}."
    else:
        try:
            async with asyncio.timeout(WRITE_S):
                await call.desk.write(_takes, lane=READS)
        except Exception as error:  # noqa: BLE001 - as above
            trouble["database"] = f"It answers, and nothing can be written: {type(error).__name__}."
    return Answer(503 if trouble else 200, Readiness(not trouble, trouble))


def _answers(conn: Connection) -> None:
    conn.execute(text("SELECT 1 FROM alembic_version"))


def _takes(conn: Connection) -> None:
    conn.execute(text("UPDATE alembic_version SET version_num = version_num WHERE 1 = 0"))  # a BEGIN alone may pass


def version() -> str:
    try:
        return metadata.version("openprepay")
    except metadata.PackageNotFoundError:
        return "0"


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation("GET", "/health", get_health, scope=None, answers={200: Health}, body=Nothing, query=Nothing),
    Operation(
        "GET",
        "/ready",
        get_ready,
        scope=None,
        answers={200: Readiness, 503: Readiness},
        body=Nothing,
        query=Nothing,
    ),
)
