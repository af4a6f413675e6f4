"""Reports: what the meter proves about itself, under its per-meter key.

A *report* answers the head end's nonce (idea 3: only such a report can confirm). A *receipt* is a report that the meter
sends when it has judged an order; a *birth* one is sent when it joins a broker; a *closing* statement tells what an
account stood at when it was closed: its time, registers and money are of that moment. All have one layout of 206 bytes
and a MAC of 16. The *subject* is the order that a receipt judges, or the aspect and selector that the head end asked
about.

`FIELDS` is the layout: (name, struct code). `meter` has 48 bits, sent as 16 and 32.
"""

import struct

from meterlink.mac import LABEL_REPORT, MAC_LENGTH, MacKey

FORMAT = 1
KIND_REPORT = 1
KIND_RECEIPT = 2
KIND_BIRTH = 3
KIND_WILL = 4  # left with the broker at birth: says only which boot has gone
KIND_CLOSING = 5

NO_NONCE = bytes(8)

FIELDS = (
    ("format", "B"),
    ("kind", "B"),
    ("meter_high", "H"),
    ("meter_low", "I"),
    ("tag_key_version", "B"),
    ("flags", "B"),  # reserved, 0
    ("boot", "I"),  # counts starts of the meter
    ("counter", "I"),  # rises with every report of this boot
    ("nonce", "8s"),  # the head end's, or zeros
    ("time_s", "I"),  # the meter's clock
    ("account_epoch", "H"),
    ("log_id", "I"),  # names the life of the record rings; changes when flash was formatted
    ("control", "B"),  # states.CONTROL_*: what the meter intends
    ("contact", "B"),  # states.CONTACT_*: what the relay is
    ("diagnosis", "B"),  # states.DIAGNOSIS_*
    ("clock", "B"),  # states.CLOCK_*
    ("holds", "I"),  # bit n: hold reason n stands
    ("causes", "H"),  # bit n: own cause n stands
    ("alarms", "H"),  # bit n: states.ALARM_* n
    ("load_ma", "I"),  # current behind the contact
    ("no_load_s", "H"),  # seconds without such current, saturated
    ("pending", "B"),  # states.PENDING_*: armed operation
    ("mode", "B"),  # states.MODE_*: fee control
    ("due_s", "I"),  # when that operation is due, 0 = none
    ("import_wh", "Q"),
    ("export_wh", "Q"),
    ("balance_uc", "q"),
    ("credited_uc", "Q"),  # grow-only terms of the balance
    ("earned_uc", "Q"),
    ("refunded_uc", "Q"),
    ("adjusted_uc", "Q"),
    ("charged_uc", "Q"),
    ("waiting_uc", "Q"),  # credited but waiting below the hoarding limit; not part of the balance
    ("remainder", "H"),  # carried by the tariff engine, thousandths of a micro-currency
    ("interval_oldest", "I"),  # sequence numbers held; 0 = none
    ("interval_newest", "I"),
    ("event_newest", "I"),
    ("latches", "H"),  # bit n: states.LATCH_* n
    ("fresh", "8s"),  # the nonce that a clock or recover order must answer
    ("typed_uc", "Q"),  # credited by typed tokens (source 65535), part of `credited_uc`
    ("until_wh", "Q"),  # allowance: the import register up to which supply is covered
    ("aspect", "B"),  # the subject; 0 = none
    ("selector", "H"),
    ("signing_epoch", "H"),  # version that the meter holds of the subject
    ("version", "I"),
    ("digest", "8s"),  # of the order that the meter holds of the subject (a receipt: that it judged)
    ("result", "B"),  # results.*: of a receipt; of a report the last result for the subject
    ("source_credited_uc", "Q"),  # the subject's totals where it is a credit source
    ("source_refunded_uc", "Q"),
)

STRUCT = ">" + "".join([code for _, code in FIELDS])
PAYLOAD_LENGTH = 206
LENGTH = PAYLOAD_LENGTH + MAC_LENGTH

_WILL = ">BBHII"


class ReportError(ValueError):
    """A report that is not believed; the text says why."""


def pack(values: "tuple[int | bytes, ...]", key: MacKey) -> bytes:
    """222 bytes from values in the order of `FIELDS`."""
    payload = struct.pack(STRUCT, *values)
    return payload + key.mac(LABEL_REPORT, payload)


class Report:
    """A report that was verified: one attribute for each of `FIELDS`, `meter`, and `raw` (222 bytes, the evidence)."""

    # Names and types for readers and checkers; set from FIELDS (a test holds the two together).
    raw: bytes
    meter: int
    meter_high: int
    meter_low: int
    format: int
    kind: int
    tag_key_version: int
    flags: int
    boot: int
    counter: int
    nonce: bytes
    time_s: int
    account_epoch: int
    log_id: int
    control: int
    contact: int
    diagnosis: int
    clock: int
    holds: int
    causes: int
    alarms: int
    load_ma: int
    no_load_s: int
    pending: int
    mode: int
    due_s: int
    import_wh: int
    export_wh: int
    balance_uc: int
    credited_uc: int
    earned_uc: int
    refunded_uc: int
    adjusted_uc: int
    charged_uc: int
    waiting_uc: int
    remainder: int
    interval_oldest: int
    interval_newest: int
    event_newest: int
    latches: int
    fresh: bytes
    typed_uc: int
    until_wh: int
    aspect: int
    selector: int
    signing_epoch: int
    version: int
    digest: bytes
    result: int
    source_credited_uc: int
    source_refunded_uc: int

    def __init__(self, raw: bytes, key: MacKey) -> None:
        """Verify and read; raises ReportError where length, MAC or format are wrong."""
        if len(raw) != LENGTH:
            raise ReportError("report: {} bytes given, {} expected".format(len(raw), LENGTH))
        raw = bytes(raw)
        if not key.check(LABEL_REPORT, raw[:PAYLOAD_LENGTH], raw[PAYLOAD_LENGTH:]):
            raise ReportError("report: the MAC is not genuine")
        values = struct.unpack(STRUCT, raw[:PAYLOAD_LENGTH])
        if values[0] != FORMAT:
            raise ReportError("report format: {} given, {} expected".format(values[0], FORMAT))
        self.raw = raw
        for i in range(len(FIELDS)):
            setattr(self, FIELDS[i][0], values[i])
        self.meter = values[2] << 32 | values[3]

    def balances(self) -> bool:
        """Whether the money identity holds: balance = credited + earned - refunded - adjusted - charged."""
        return (
            self.balance_uc == self.credited_uc + self.earned_uc - self.refunded_uc - self.adjusted_uc - self.charged_uc
        )


def meter_of(raw: bytes) -> int:
    """The meter that a report or a will claims to be from (to find its key); ReportError where it is too short."""
    if len(raw) < 8:
        raise ReportError("report: {} bytes given, {} expected".format(len(raw), LENGTH))
    high, low = struct.unpack_from(">HI", raw, 2)
    return high << 32 | low


def pack_will(meter: int, boot: int, key: MacKey) -> bytes:
    """The will: format 1, kind 1, meter 6, boot 4, MAC 16 — 28 bytes."""
    payload = struct.pack(_WILL, FORMAT, KIND_WILL, meter >> 32, meter & 0xFFFFFFFF, boot)
    return payload + key.mac(LABEL_REPORT, payload)


def read_will(raw: bytes, key: MacKey) -> "tuple[int, int]":
    """(meter, boot) of a will; ReportError where it is not genuine."""
    if len(raw) != 12 + MAC_LENGTH or raw[1] != KIND_WILL:
        raise ReportError("will: {} bytes given, {} expected".format(len(raw), 12 + MAC_LENGTH))
    if not key.check(LABEL_REPORT, raw[:12], raw[12:]):
        raise ReportError("will: the MAC is not genuine")
    _, _, high, low, boot = struct.unpack(_WILL, raw[:12])
    return high << 32 | low, boot
