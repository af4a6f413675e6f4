"""What is asked of a campaign, read into the terms, the selection and the plan that it is made of."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headend.campaigns import plan
from headend.refusals import Refused
from headend.web import bodies_json, tariff_json, wire
from headend.web.bodies_json import LimitsBody, Seconds
from headend.web.tariff_json import TariffBody
from headend.web.wire import MeterNumber
from meterlink import bodies, names, stating

MAX_BYTES = 16_000_000  # of a request
MAX_CSV = 5_000_000
MAX_LISTED = 300_000
MAX_ID = 2**53

Kind = Literal["stop", "connect", "unprotect", "tariff", "limits", "firmware", "clock"]
Hold = Literal["arrears", "customer_request", "move_out", "tamper", "load_control", "legal"]
Why = Annotated[str, Meta(min_length=1, max_length=200, description="Why, in words, for the record.")]
Given = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]  # terms, selection, plan
_CLOSE = {"permit": bodies.CLOSE_PERMIT, "direct": bodies.CLOSE_DIRECT}


class PlanBody(msgspec.Struct, forbid_unknown_fields=True):
    """How it goes. Shares are in 1/10 000."""

    groups: Annotated[
        list[Annotated[str, Meta(max_length=8)]],
        Meta(min_length=1, max_length=plan.MAX_GROUPS, description='"10" meters, "1%" of all, and "rest" at the end.'),
    ] = msgspec.field(default_factory=lambda: list(plan.Plan.groups))
    per_minute: Annotated[int, Meta(ge=1, le=60_000, description="Orders stated in a minute.")] = 600
    per_feeder: Annotated[int, Meta(ge=0, le=60_000, description="… to one feeder; 0: no limit of its own.")] = 0
    confirm: Annotated[
        int, Meta(ge=0, le=plan.WHOLE, description="Share of a group that is confirmed before the next begins.")
    ] = 9_500
    answer_s: Annotated[int, Meta(ge=10, le=86_400, description="After which an answer counts as missing.")] = 300
    abort: Annotated[
        int,
        Meta(ge=0, le=plan.WHOLE, description="It stops above this share of failures among the answered or overdue"),
    ] = 200
    abort_after: Annotated[int, Meta(ge=1, le=100_000, description="… once there are so many of them.")] = 50
    start_s: Annotated[int, Meta(ge=0, le=0xFFFFFFFF, description="Not before; seconds since 1970 UTC.")] = 0
    deliver_s: Annotated[
        int, Meta(ge=600, le=2_592_000, description="How long a meter may be tried in vain with its image.")
    ] = 21_600


class FirmwareBody(msgspec.Struct, forbid_unknown_fields=True):
    """The image that the meters are to run."""

    release: Annotated[list[Annotated[int, Meta(ge=0, le=255)]], Meta(min_length=3, max_length=3)]
    legal_version: Annotated[int, Meta(ge=0, le=0xFFFF)]
    length: Annotated[int, Meta(ge=1, le=0xFFFFFFFF, description="Of the image, in bytes.")]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class CampaignRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done with which meters, and how: a dry run is made of it, nothing is stated."""

    kind: Annotated[Kind, Meta(description="`stop` and `connect` want `reason`; the others what they are named for.")]
    why: Why
    area: Annotated[
        Annotated[str, Meta(max_length=120)] | None, Meta(description='Meters of this area; "": of everywhere.')
    ] = None
    type: Annotated[Annotated[str, Meta(max_length=40)] | None, Meta(description="Meters of this type alone.")] = None
    carrier: Literal["mqtt", "modbus"] | None = None
    meters: Annotated[
        Annotated[list[MeterNumber], Meta(max_length=MAX_LISTED)] | None, Meta(description="These, not an area's.")
    ] = None
    csv: Annotated[
        Annotated[str, Meta(max_length=MAX_CSV)] | None,
        Meta(description="The same as CSV text, numbers in the first column."),
    ] = None
    reason: Hold | None = None
    delay_s: Seconds | None = None
    close: Annotated[Literal["permit", "direct"] | None, Meta(description="Of `connect`: who closes.")] = None
    tariff: TariffBody | None = None
    limits: LimitsBody | None = None
    image: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_ID)] | None,
        Meta(description="Of `firmware`: the image that is brought to the meters first, and then ordered."),
    ] = None
    firmware: Annotated[
        FirmwareBody | None, Meta(description="Of `firmware`, in place of `image`: one that is brought otherwise.")
    ] = None
    plan: PlanBody = msgspec.field(default_factory=PlanBody)


def read_request(body: CampaignRequest) -> Given:
    """Raises Refused for what does not go with its kind."""
    return _terms(body), _chosen(body), msgspec.to_builtins(body.plan)


def _terms(body: CampaignRequest) -> dict[str, Any]:
    wanted = {"reason": ("stop", "connect"), "tariff": ("tariff",), "limits": ("limits",), "firmware": ("firmware",)}
    if body.image is not None:
        if body.kind != "firmware" or body.firmware is not None:
            raise Refused("image", body.image, "alone, with the kind firmware")
        return {"image": body.image}
    for field, kinds in wanted.items():
        value = getattr(body, field)
        if (value is not None) != (body.kind in kinds):
            raise Refused(field, value, f"what goes with the kind {body.kind}")
    found: dict[str, Any] = {}
    if body.reason is not None:
        found["reason"] = names.code(names.HOLD, body.reason)
    for field, kind in (("delay_s", "stop"), ("close", "connect")):
        if getattr(body, field) is not None and body.kind != kind:
            raise Refused(field, getattr(body, field), f"nothing with the kind {body.kind}")
    if body.delay_s is not None:
        found["delay_s"] = body.delay_s
    if body.close is not None:
        found["close"] = _CLOSE[body.close]
    if body.tariff is not None:
        found["body"] = tariff_json.read_tariff(body.tariff).encode().hex()
    if body.limits is not None:
        found["body"] = bodies_json.read_limits(body.limits).encode().hex()
    if body.firmware is not None:
        image = body.firmware
        release = (image.release[0], image.release[1], image.release[2])
        raw = stating.firmware(release, image.legal_version, image.length, bytes.fromhex(image.sha256))
        found["body"] = raw.hex()
    return found


def _chosen(body: CampaignRequest) -> dict[str, Any]:
    listed = [] if body.meters is None else [wire.read_meter(one, "meters") for one in body.meters]
    if body.csv is not None:
        listed += _of_csv(body.csv)
    found = {name: getattr(body, name) for name in ("area", "type", "carrier")}
    chosen: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    if body.meters is not None or body.csv is not None:
        chosen["meters"] = sorted(set(listed))
    return chosen


def _of_csv(text: str) -> list[int]:
    """Numbers in the first column; a first line that is none is a heading."""
    found = []
    for at, line in enumerate(text.splitlines()):
        first = line.partition(",")[0].partition(";")[0].strip().strip('"')
        if not first or (at == 0 and not first.isdigit()):
            continue
        found.append(wire.read_meter(first, f"csv, line {at + 1}"))
    return found
