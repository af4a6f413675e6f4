"""What the panel can show: one row an item, under the short code that is typed for it (`*NN#`).

Registers and balance are the committed ones, as everywhere. Money is rounded to a hundredth against the meter's
holder, so that what is shown can be spent and what is to be paid is enough; energy is cut to 10 Wh.
"""

import struct
from binascii import hexlify

from meter.release import LEGAL_VERSION, VERSION
from meterlink import records, states
from meterlink.provision import CURRENCY_ENERGY

COLUMNS = 16

# Codes that the panel itself knows.
CREDIT = 1
PAY = 2
SUPPLY = 3
EMERGENCY = 5
PRICE = 8
ENERGY = 10
NUMBER = 20
LAST_TOKEN = 30
TOP_UPS = 33
LOCKED = 35
TAMPER = 53
BOARD = 64
LANGUAGE = 90
SEGMENTS = 91
CONTRAST = 92
KEYS = 93

# Why supply is off: 1..8 the hold of that number, 20 + cause, and:
OWN = 20
KEY = 40  # it waits for the customer's key
WAIT = 41  # it closes by itself
RELAY = 50  # + states.DIAGNOSIS_*

REASON = {
    1: "arrears",
    2: "on request",
    3: "moved out",
    4: "tamper",
    5: "load control",
    6: "legal order",
    7: "safety",
    20: "no credit",
    21: "overload",
    22: "bad supply",
    23: "not set up",
    24: "no account",
    25: "low: hold #",
    26: "high voltage",
    27: "low voltage",
    28: "too hot",
    29: "load limit",
    KEY: "hold # 3 s",
    WAIT: "wait",
    RELAY + states.DIAGNOSIS_WELDED: "relay stuck",
    RELAY + states.DIAGNOSIS_FAILED_TO_CLOSE: "relay failed",
    RELAY + states.DIAGNOSIS_BYPASSED: "bypassed",
}


def money(meter, amount_uc: int, up: bool = False) -> str:
    """An amount with two decimals, of kWh where that is what the account counts; `up`: what is to be paid."""
    cents = -(-amount_uc // 10_000) if up else amount_uc // 10_000
    unit = "kWh" if meter.given and meter.given.currency == CURRENCY_ENERGY else ""
    return "{}{}.{:02d}{}".format("-" if cents < 0 else "", abs(cents) // 100, abs(cents) % 100, unit)


def reason(meter) -> int:
    """Why supply is off, or about to be: a number of REASON, 0 for nothing."""
    supply = meter.supply
    kind, number = supply.why()
    if kind:
        return {"hold": number, "cause": OWN + number}.get(kind, KEY)
    if supply.control != states.CONTROL_CONNECTED:
        return WAIT
    return RELAY + supply.relay.diagnosis if supply.relay.diagnosis else 0


def _credit(panel, n: int) -> str:
    meter = panel.meter
    mode = meter.allowance.mode
    if mode == states.MODE_LOCAL:
        return money(meter, meter.committed()[10])
    return (
        money(meter, meter.allowance.cover_uc(meter.pricing.price_uc_per_kwh())) if mode == states.MODE_REMOTE else ""
    )


def _pay(panel, n: int) -> str:
    return money(panel.meter, panel.meter.reconnect_uc(), True)


def _supply(panel, n: int) -> str:
    number = reason(panel.meter)
    return panel.reason(number) if number else "on"


def _overdraft(panel, n: int) -> str:
    return money(panel.meter, max(0, -panel.meter.committed()[10]), True)


def _emergency(panel, n: int) -> str:
    emergency = panel.meter.emergency
    if emergency.state == states.EMERGENCY_OFFERED:
        return money(panel.meter, panel.meter.supply.limits.emergency_uc) + " #"
    return money(panel.meter, emergency.left_uc()) if emergency.state else ""


def _debt(panel, n: int) -> str:
    return money(panel.meter, sum([debt.owed_uc() for debt in panel.meter.debts]), True)


def _committed_uc(panel, n: int) -> str:
    return money(panel.meter, panel.meter.committed()[n])


def _price(panel, n: int) -> str:
    price_uc = panel.meter.pricing.price_uc_per_kwh() // 100
    return "{}.{:04d}/kWh".format(price_uc // 10_000, price_uc % 10_000)


def energy(energy_wh: int) -> str:
    """A register with its unit."""
    return "{}.{:02d}kWh".format(energy_wh // 1000, energy_wh % 1000 // 10)


def _committed_wh(panel, n: int) -> str:
    return energy(panel.meter.committed()[n])


def _logged(meter, kind: int, back: int) -> bytes:
    """A record of a log, `back` before the newest; b"" where there is none."""
    flash = meter.store
    record = bytearray(struct.calcsize(records.FORMAT_OF[kind]))
    return bytes(record) if flash.logs[kind].read_into(flash.newest[kind] - back, record) else b""


def _used(panel, n: int) -> str:
    """Import of a day (n = 0, 1) or a month (2, 3): of this one so far, or of the one before it."""
    meter = panel.meter
    kind = records.KIND_MONTHLY if n > 1 else records.KIND_DAILY
    ends = [_logged(meter, kind, back) for back in (0, n & 1)]
    if not ends[1]:
        return ""
    began_wh, ended_wh = [struct.unpack(records.FREEZE_FORMAT, end)[6] for end in ends[::-1]]
    return energy((ended_wh if n & 1 else meter.committed()[1]) - began_wh)


def _top_up(panel, n: int) -> str:
    """The local day of a top-up, and its amount."""
    meter = panel.meter
    record = _logged(meter, records.KIND_TOPUP, panel.entry)
    if not record:
        return ""
    f = struct.unpack(records.TOPUP_FORMAT, record)
    _, month, day, _, _ = meter.pricing.local(f[1])
    return "{:02d}-{:02d} {} #".format(month, day, money(meter, f[5]))


def _phase(panel, n: int) -> str:
    """The power factor, or with n = 4 the frequency."""
    phases = panel.meter.board.quantities()
    if not phases:
        return ""
    value = phases[0][n]
    if n == 4:
        return "{}.{:02d} Hz".format(value // 100, value % 100)
    return "{}{}.{:03d}".format("-" if value < 0 else "", abs(value) // 1000, abs(value) % 1000)


def _clock(panel, n: int) -> str:
    """The local date, or with n = 1 the time of day."""
    meter = panel.meter
    if not meter.clock.known:
        return ""
    year, month, day, _, second = meter.pricing.local(meter.now_s())
    if n:
        return "{:02d}:{:02d}".format(second // 3600, second // 60 % 60)
    return "{:04d}-{:02d}-{:02d}".format(year, month, day)


def _token(panel, n: int) -> str:
    last = panel.meter.typed.last
    return "T{:02d}".format(last.code) if last.code else ""


def _token_amount(panel, n: int) -> str:
    return money(panel.meter, panel.meter.typed.last.amount_uc)


def _locked(panel, n: int) -> str:
    return "{} s".format(panel.meter.typed.lockout.left_s)


def _power(panel, n: int) -> str:
    power_w = panel.meter.board.power_w()
    return "{} W".format(power_w) if power_w != 0xFFFFFFFF else ""


def _voltage(panel, n: int) -> str:
    voltage_dv = panel.meter.board.voltage_dv()
    return "{}.{} V".format(voltage_dv // 10, voltage_dv % 10) if voltage_dv != 0xFFFF else ""


def _current(panel, n: int) -> str:
    load_ma = panel.meter.board.load_ma()
    return "{}.{:02d} A".format(load_ma // 1000, load_ma % 1000 // 10)


def _key(panel, n: int) -> str:
    typed = panel.meter.typed
    return str(typed.attributes[n]) if typed.key else ""


def _heard(panel, n: int) -> str:
    heard_s = panel.meter.heard_s
    return "{} s".format(panel.meter.mono_s - heard_s[n]) if n in heard_s else ""


def _unsent(panel, n: int) -> str:
    flash = panel.meter.store
    return str(max(0, (flash.events if n else flash.intervals).newest - panel.meter.cursors[n]))


def _contact(panel, n: int) -> str:
    contact = panel.meter.supply.relay.contact
    return str(contact) if panel.codes else ("open", "closed", "not sensed")[contact]


def _mode(panel, n: int) -> str:
    mode = panel.meter.allowance.mode
    return str(mode) if panel.codes else ("local", "remote", "postpaid")[mode]


# code, data identifier of the same item in DL/T 645-2007 (0: none), label, value(panel, n) -> str, n. An empty value is
# one that this meter does not have.
ITEMS = (
    (CREDIT, 0x00900200, "Credit", _credit, 0),
    (PAY, 0, "To pay", _pay, 0),
    (SUPPLY, 0, "Supply", _supply, 0),
    (4, 0x00900201, "Overdraft", _overdraft, 0),
    (EMERGENCY, 0, "Emergency", _emergency, 0),
    (6, 0, "Debt", _debt, 0),
    (7, 0, "Rate", lambda panel, n: "T{}".format(panel.meter.pricing.rate + 1), 0),
    (PRICE, 0x02800020, "Price", _price, 0),
    (9, 0, "Waiting", _committed_uc, 25),
    (ENERGY, 0x00010000, "Used", _committed_wh, 1),
    (11, 0x00010100, "Used T1", _committed_wh, 17),
    (12, 0x00010200, "Used T2", _committed_wh, 18),
    (13, 0x00010300, "Used T3", _committed_wh, 19),
    (14, 0x00010400, "Used T4", _committed_wh, 20),
    (15, 0x00020000, "Given", _committed_wh, 3),
    (16, 0, "Today", _used, 0),
    (17, 0, "Yesterday", _used, 1),
    (18, 0, "This month", _used, 2),
    (19, 0, "Last month", _used, 3),
    (NUMBER, 0x04000402, "No", lambda panel, n: str(panel.meter.number), 0),
    (21, 0x04000101, "Date", _clock, 0),
    (22, 0x04000102, "Time", _clock, 1),
    (LAST_TOKEN, 0, "Last token", _token, 0),
    (31, 0, "Its amount", _token_amount, 0),
    (TOP_UPS, 0, "Top-ups", _top_up, 0),
    (LOCKED, 0, "Locked", _locked, 0),
    (40, 0x02030000, "Power", _power, 0),
    (41, 0x02010100, "Voltage", _voltage, 0),
    (42, 0x02020100, "Current", _current, 0),
    (43, 0x02060000, "Power factor", _phase, 3),
    (44, 0x02800002, "Frequency", _phase, 4),
    (45, 0, "Power limit", lambda panel, n: "{} W".format(panel.meter.supply.power_limit_w), 0),
    (46, 0, "Contact", _contact, 0),
    (47, 0, "Operations", lambda panel, n: str(panel.meter.supply.relay.operations), 0),
    (50, 0, "Holds", lambda panel, n: "{:X}".format(panel.meter.supply.holds), 0),
    (51, 0, "Causes", lambda panel, n: "{:X}".format(panel.meter.supply.causes), 0),
    (52, 0, "Alarms", lambda panel, n: "{:X}".format(panel.meter.alarms()), 0),
    (TAMPER, 0, "Tamper", lambda panel, n: "{:X}".format(panel.meter.latches.word), 0),
    (54, 0, "Mode", _mode, 0),
    (60, 0, "Firmware", lambda panel, n: VERSION, 0),
    (61, 0, "Legal part", lambda panel, n: str(LEGAL_VERSION), 0),
    (62, 0, "Starts", lambda panel, n: str(panel.meter.boot), 0),
    (63, 0x04000409, "imp/kWh", lambda panel, n: str(panel.meter.energy.imp_per_kwh), 0),
    (BOARD, 0, "Board", lambda panel, n: ("", "BENCH", "sealed")[panel.meter.board.board_class], 0),
    (65, 0, "Account", lambda panel, n: str(panel.meter.account_epoch), 0),
    (66, 0, "Legal hash", lambda panel, n: hexlify(panel.meter.update.legal_sha256[:8]).decode(), 0),
    (70, 0, "SGC", _key, 0),
    (71, 0, "Key revision", _key, 3),
    (72, 0, "Key expiry", _key, 4),
    (73, 0, "Tariff index", _key, 2),
    (80, 0, "Bus heard", _heard, 0),
    (81, 0, "Net heard", _heard, 1),
    (82, 0, "MQTT heard", _heard, 2),
    (83, 0, "Port heard", _heard, 3),
    (84, 0, "Reads to send", _unsent, 0),
    (85, 0, "Events to send", _unsent, 1),
    (LANGUAGE, 0, "Language", lambda panel, n: "codes #" if panel.codes else "English #", 0),
    (SEGMENTS, 0, "Display test", lambda panel, n: "", 0),
    (CONTRAST, 0, "Contrast", lambda panel, n: "{} #".format(panel.contrast), 0),
    (KEYS, 0, "Key test", lambda panel, n: panel.pressed, 0),
)


def find(code: int) -> "tuple":
    """The row of a code; () where there is none."""
    for row in ITEMS:
        if row[0] == code:
            return row
    return ()
