"""Meter types as data: what a meter of a type can do, and whether it fits where it is to stand."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.fleet import words  # noqa: F401 - its actions
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_fleet import meter_life, meter_type

CARRIERS = ("mqtt", "modbus")
# What of a tariff and of tokens a type may understand -> what that is.
FEATURES = {
    "steps": ("steps of consumption", "阶梯电价"),
    "rates": ("times of use", "分时电价"),
    "time_charges": ("charges for time", "固定费用"),
    "export": ("exported energy is credited", "上网电量抵扣"),
    "remote": ("priced by the head end", "远程计费"),
    "typed": ("typed tokens", "输入令牌"),
}
MAX_TITLE = 80
MAX_W = 100_000_000

_NAME = "1..40 of a-z 0-9 . _ -, a letter first"
_ROW = prepared(select(meter_type).where(meter_type.c.type == bindparam("of")))
_ALL = select(meter_type).order_by(meter_type.c.type)
_CHANGE = update(meter_type).where(meter_type.c.type == bindparam("of"))
_TYPE_OF = prepared(
    select(meter_type)
    .join(meter_life, meter_life.c.type == meter_type.c.type)
    .where(meter_life.c.meter == bindparam("of"))
)


@dataclass(frozen=True)
class MeterType:
    """What meters of a type can do.

    type: 1..40 of a-z 0-9 . _ - · carriers: of `CARRIERS` · phases 1 | 3 · relay: it can disconnect · limit_w: the most
    power that it is built for, 1..10^8 W · intervals: minutes, divisors of 60 · tariff: of `FEATURES` · firmware: the
    family of images that it runs, 1..40 printable ASCII characters.
    """

    type: str
    title_en: str
    title_zh: str
    carriers: tuple[str, ...]
    phases: int
    relay: bool
    limit_w: int
    intervals: tuple[int, ...]
    tariff: tuple[str, ...]
    firmware: str


class UnknownType(Refused):
    """No type has this name."""

    def __init__(self, name: object) -> None:
        super().__init__("type", name, "the name of a meter type")


def check(given: MeterType) -> None:
    """Raise Refused for the first field that does not fit."""
    if not is_code(given.type) or not given.type[0].isalpha():
        raise Refused("type", given.type, _NAME)
    for field, title in (("title_en", given.title_en), ("title_zh", given.title_zh)):
        if not 1 <= len(title) <= MAX_TITLE or not title.isprintable():
            raise Refused(field, title, f"1..{MAX_TITLE} printable characters")
    if not given.carriers or not _some(given.carriers, CARRIERS):
        raise Refused("carriers", " ".join(given.carriers), f"some of {' '.join(CARRIERS)}, each once")
    if given.phases not in (1, 3):
        raise Refused("phases", given.phases, "1 or 3")
    if not 1 <= given.limit_w <= MAX_W:
        raise Refused("limit_w", given.limit_w, f"1..{MAX_W}")
    divisors = tuple(minutes for minutes in range(1, 61) if 60 % minutes == 0)
    if not given.intervals or not _some(given.intervals, divisors):
        raise Refused("intervals", " ".join(map(str, given.intervals)), "divisors of 60, each once")
    if not _some(given.tariff, tuple(FEATURES)):
        raise Refused("tariff", " ".join(given.tariff), f"some of {' '.join(FEATURES)}, each once")
    if not 1 <= len(given.firmware) <= 40 or not (given.firmware.isascii() and given.firmware.isprintable()):
        raise Refused("firmware", given.firmware, "1..40 printable ASCII characters")


def is_code(text: str) -> bool:
    """Whether a text may name a type, or a part of the grid."""
    return 1 <= len(text) <= 40 and all(sign in "abcdefghijklmnopqrstuvwxyz0123456789._-" for sign in text)


def put(conn: Connection, now_s: int, given: MeterType, actor: str) -> str:
    """Describe a type, a new one or one that is there; returns "new", "changed" or "same". Raises Refused."""
    check(given)
    known = find(conn, given.type)
    if known == given:
        return "same"
    row = {
        **asdict(given),
        "carriers": " ".join(given.carriers),
        "intervals": " ".join(map(str, given.intervals)),
        "tariff": " ".join(given.tariff),
        "relay": int(given.relay),
        "changed_s": now_s,
    }
    if known is None:
        conn.execute(insert(meter_type), row)
    else:
        conn.execute(_CHANGE, {"of": given.type, **row})
    told: dict[str, int | str | None] = {name: row[name] for name in row if name not in ("changed_s", "type")}
    audit.record(conn, now_s, actor, "type.put", f"type:{given.type}", told)
    return "new" if known is None else "changed"


def find(conn: Connection, name: str) -> MeterType | None:
    """A type, or None."""
    row = _ROW(conn, {"of": name}).one_or_none()
    return None if row is None else _of(row)


def get(conn: Connection, name: str) -> MeterType:
    """A type; raises UnknownType."""
    found = find(conn, name)
    if found is None:
        raise UnknownType(name)
    return found


def of_meter(conn: Connection, meter: int) -> MeterType | None:
    """The type of a meter; None where nobody told it."""
    row = _TYPE_OF(conn, {"of": meter}).one_or_none()
    return None if row is None else _of(row)


def every(conn: Connection) -> list[MeterType]:
    """All types by name."""
    return [_of(row) for row in conn.execute(_ALL)]


def fits_meter(kind: MeterType, carrier: str, interval_minutes: int) -> None:
    """Raise Refused where a meter of the type cannot speak over the carrier, or not record so."""
    if carrier not in kind.carriers:
        raise Refused("carrier", carrier, f"one of {' '.join(kind.carriers)}, as type {kind.type} has it")
    if interval_minutes not in kind.intervals:
        told = " ".join(map(str, kind.intervals))
        raise Refused("interval_minutes", interval_minutes, f"one of {told}, as type {kind.type} has it")


def fits_point(kind: MeterType, phases: int, limit_w: int) -> None:
    """Raise Refused where a meter of the type cannot stand at a supply point of so many phases and so much power."""
    if kind.phases != phases:
        raise Refused("type", kind.type, f"a type with {phases} phases, as the supply point has")
    if not kind.relay:
        raise Refused("type", kind.type, "a type that can disconnect, as a customer's meter has to")
    if limit_w > kind.limit_w:
        raise Refused(
            "type", kind.type, f"a type for {limit_w} W, the supply point's limit; this one has {kind.limit_w}"
        )


def _some(given: tuple[Any, ...], known: tuple[Any, ...]) -> bool:
    return set(given) <= set(known) and len(set(given)) == len(given)


def _of(row: Row[Any]) -> MeterType:
    return MeterType(
        row.type,
        row.title_en,
        row.title_zh,
        tuple(row.carriers.split()),
        row.phases,
        bool(row.relay),
        row.limit_w,
        tuple(map(int, row.intervals.split())),
        tuple(row.tariff.split()),
        row.firmware,
    )
