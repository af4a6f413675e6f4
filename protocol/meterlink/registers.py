"""The Modbus register map, one table: documentation, decoder, firmware and simulator all come from it.

A block starts at a fixed address with a header. Values are big-endian, most significant register first. Reading a
block's first register latches a snapshot of the whole block; the other registers are served from that snapshot, whose
sequence and time stand in the header, so a value never mixes two moments. Addresses are 0-based, as on the wire. All
blocks are read by FC 03 and FC 04 alike; an address outside a block answers exception 2. What each field means, for
people, stands in `register_text.py`.

`BLOCKS`: (id, address, name, fields); a field is (name, type, scale exponent of ten, unit).
Types: u16, u32, u48, u64, i16, i32, i64, and bN / sN: N bytes (N even) raw / ASCII padded with zeros.
"""

IDENT = 1
HOT = 2
RESULT = 3
REPORT = 4
BATCH = 5
SOURCES = 6
ORDER = 7
TOKEN = 8
ENERGY = 9
QUANTITIES = 10
ACCOUNT = 11
SUPPLY = 12
LOGS = 13
UPDATE = 14
LINE = 15

SELF_TEST = 0x01020304
MAP_VERSION = 2

_HEADER = (
    ("block_id", "u16", 0, ""),
    ("block_length", "u16", 0, "registers"),
    ("snapshot", "u16", 0, ""),
    ("time_s", "u32", 0, "s"),
)

MAX_SOURCES = 8
MAX_PHASES = 3
MAX_DEBTS = 3


def _sources() -> "tuple[tuple[str, str, int, str], ...]":
    fields = []
    for i in range(MAX_SOURCES):
        fields.append(("source_{}".format(i), "u16", 0, ""))
        fields.append(("credited_{}_uc".format(i), "u64", -6, "currency"))
        fields.append(("refunded_{}_uc".format(i), "u64", -6, "currency"))
    return tuple(fields)


def _rates() -> "tuple[tuple[str, str, int, str], ...]":
    fields = []
    for way in ("import", "export"):
        for rate in range(4):
            fields.append(("{}_rate_{}_wh".format(way, rate), "u64", 0, "Wh"))
    return tuple(fields)


# name, type, scale, unit of what is measured of a phase
_QUANTITIES = (
    ("voltage", "u16", -1, "V"),
    ("current", "u32", -3, "A"),
    ("power", "i32", 0, "W"),
    ("power_factor", "i16", -3, ""),
    ("frequency", "u16", -2, "Hz"),
)


def _phases(kinds: "tuple[str, ...]") -> "tuple[tuple[str, str, int, str], ...]":
    fields = []
    for phase in range(1, MAX_PHASES + 1):
        for name, kind, scale, unit in _QUANTITIES:
            for suffix in kinds:
                fields.append(("{}_{}{}".format(name, phase, suffix), kind, scale, unit))
    return tuple(fields)


def _debts() -> "tuple[tuple[str, str, int, str], ...]":
    fields = []
    for number in range(1, MAX_DEBTS + 1):
        for name in ("kind", "period", "priority", "share"):
            fields.append(("debt_{}_{}".format(number, name), "u16", 0, "1/10000" if name == "share" else ""))
        for name in ("amount", "cap", "placed", "withdrawn", "collected", "owed", "due"):
            fields.append(("debt_{}_{}_uc".format(number, name), "u64", -6, "currency"))
    return tuple(fields)


BLOCKS = (
    (
        IDENT,
        0x0000,
        "ident",
        (
            ("self_test", "u32", 0, ""),
            ("block_id", "u16", 0, ""),
            ("block_length", "u16", 0, "registers"),
            ("map_version", "u16", 0, ""),
            ("meter", "u48", 0, ""),
            ("account_epoch", "u16", 0, ""),
            ("tag_key_version", "u16", 0, ""),
            ("board_class", "u16", 0, ""),
            ("firmware", "s16", 0, ""),
            ("legal_version", "u16", 0, ""),
            ("imp_per_kwh", "u32", 0, "imp/kWh"),
            ("interval_minutes", "u16", 0, "min"),
            ("currency", "u16", 0, ""),
            ("log_id", "u32", 0, ""),
            ("boot", "u32", 0, ""),
        ),
    ),
    (
        HOT,
        0x0100,
        "hot",
        _HEADER
        + (
            ("clock", "u16", 0, ""),
            ("control", "u16", 0, ""),
            ("contact", "u16", 0, ""),
            ("diagnosis", "u16", 0, ""),
            ("pending", "u16", 0, ""),
            ("due_s", "u32", 0, "s"),
            ("holds", "u32", 0, ""),
            ("causes", "u16", 0, ""),
            ("alarms", "u16", 0, ""),
            ("load_ma", "u32", -3, "A"),
            ("no_load_s", "u16", 0, "s"),
            ("voltage_dv", "u16", -1, "V"),
            ("power_w", "u32", 0, "W"),
            ("import_wh", "u64", 0, "Wh"),
            ("export_wh", "u64", 0, "Wh"),
            ("balance_uc", "i64", -6, "currency"),
            ("credited_uc", "u64", -6, "currency"),
            ("earned_uc", "u64", -6, "currency"),
            ("refunded_uc", "u64", -6, "currency"),
            ("adjusted_uc", "u64", -6, "currency"),
            ("charged_uc", "u64", -6, "currency"),
            ("waiting_uc", "u64", -6, "currency"),
            ("rate", "u16", 0, ""),
            ("price_uc_per_kwh", "u64", -6, "currency/kWh"),
            ("tariff_signing_epoch", "u16", 0, ""),
            ("tariff_version", "u32", 0, ""),
            ("interval_oldest", "u32", 0, ""),
            ("interval_newest", "u32", 0, ""),
            ("event_oldest", "u32", 0, ""),
            ("event_newest", "u32", 0, ""),
            ("unclean_starts", "u16", 0, ""),
            ("fresh", "b8", 0, ""),
            ("latches", "u16", 0, ""),
            ("mode", "u16", 0, ""),
            ("until_wh", "u64", 0, "Wh"),
        ),
    ),
    (
        RESULT,
        0x0200,
        "result",
        _HEADER
        + (
            ("pending_id", "u16", 0, ""),
            ("done_id", "u16", 0, ""),
            ("result", "u16", 0, ""),
            ("aspect", "u16", 0, ""),
            ("selector", "u16", 0, ""),
            ("signing_epoch", "u16", 0, ""),
            ("version", "u32", 0, ""),
            ("digest", "b8", 0, ""),
            ("judged_s", "u32", 0, "s"),
        ),
    ),
    (
        REPORT,
        0x0300,
        "report",
        _HEADER + (("report_length", "u16", 0, "bytes"), ("report", "b222", 0, "")),
    ),
    (
        BATCH,
        0x0400,
        "batch",
        _HEADER + (("batch_head", "b40", 0, ""), ("batch_mac", "b16", 0, "")),
    ),
    (SOURCES, 0x0500, "sources", _HEADER + _sources()),
    (
        ORDER,
        0x0600,
        "order",
        # 126 registers: the one block that takes two readings (of one snapshot).
        _HEADER + (("order_length", "u16", 0, "bytes"), ("order", "b240", 0, "")),
    ),
    (
        TOKEN,
        0x0700,
        "token",
        _HEADER
        + (
            ("typed_count", "u16", 0, ""),
            ("typed_result", "u16", 0, ""),
            ("typed_class", "u16", 0, ""),
            ("typed_subclass", "u16", 0, ""),
            ("typed_tid", "u32", 0, "min"),
            ("typed_amount_uc", "u64", -6, "currency"),
            ("typed_control", "u48", 0, ""),
            ("typed_uc", "u64", -6, "currency"),
            ("lockout_s", "u16", 0, "s"),
            ("sections", "u16", 0, ""),
            ("supply_group", "u32", 0, ""),
            ("key_type", "u16", 0, ""),
            ("tariff_index", "u16", 0, ""),
            ("key_revision", "u16", 0, ""),
            ("key_expiry", "u16", 0, ""),
            ("base_date", "u16", 0, ""),
            ("power_limit_w", "u32", 0, "W"),
        ),
    ),
    (
        ENERGY,
        0x0800,
        "energy",
        _HEADER
        + _rates()
        + (
            ("calibrations", "u16", 0, ""),
            ("gain_voltage", "u16", 0, ""),
            ("gain_current", "u16", 0, ""),
            ("gain_power", "u16", 0, ""),
            ("phase_shift", "i16", 0, ""),
            ("offset_power", "i16", 0, ""),
            ("inputs", "u16", 0, ""),
            ("metering", "u16", 0, ""),
        ),
    ),
    (
        QUANTITIES,
        0x0900,
        "quantities",
        _HEADER
        + (("phases", "u16", 0, ""), ("minutes_kept", "u16", 0, ""))
        + _phases(("",))
        + (("spread_start_s", "u32", 0, "s"),)
        + _phases(("_low", "_high", "_average")),
    ),
    (
        ACCOUNT,
        0x0A00,
        "account",
        _HEADER
        + (
            ("settlement", "u16", 0, ""),
            ("emergency", "u16", 0, ""),
            ("emergency_left_uc", "u64", -6, "currency"),
            ("friendly", "u16", 0, ""),
            ("reconnect_uc", "u64", -6, "currency"),
            ("waiting_uc", "u64", -6, "currency"),
            ("standing_uc", "u64", -6, "currency"),
            ("standing_due_uc", "u64", -6, "currency"),
        )
        + _debts(),
    ),
    (
        SUPPLY,
        0x0B00,
        "supply",
        _HEADER
        + (
            ("supply_mode", "u16", 0, ""),
            ("control", "u16", 0, ""),
            ("contact", "u16", 0, ""),
            ("diagnosis", "u16", 0, ""),
            ("why", "u16", 0, ""),
            ("holds", "u32", 0, ""),
            ("causes", "u16", 0, ""),
            ("armed_trips", "u16", 0, ""),
            ("armed_first", "u16", 0, ""),
            ("armed_s", "u32", 0, "s"),
            ("attempts", "u16", 0, ""),
            ("operations", "u32", 0, ""),
            ("rated_operations", "u32", 0, ""),
            ("load_limit_w", "u32", 0, "W"),
            ("load_limit_until_s", "u32", 0, "s"),
            ("overload_closes_left", "u16", 0, ""),
            ("load_limit_closes_left", "u16", 0, ""),
            ("max_current_ma", "u32", -3, "A"),
            ("over_voltage_dv", "u16", -1, "V"),
            ("under_voltage_dv", "u16", -1, "V"),
            ("temperature_dc", "i16", -1, "°C"),
            ("max_temperature_dc", "i16", -1, "°C"),
        ),
    ),
    (
        LOGS,
        0x0C00,
        "logs",
        _HEADER
        + (
            ("nuisance_oldest", "u32", 0, ""),
            ("nuisance_newest", "u32", 0, ""),
            ("switch_oldest", "u32", 0, ""),
            ("switch_newest", "u32", 0, ""),
            ("topup_oldest", "u32", 0, ""),
            ("topup_newest", "u32", 0, ""),
            ("daily_oldest", "u32", 0, ""),
            ("daily_newest", "u32", 0, ""),
            ("monthly_oldest", "u32", 0, ""),
            ("monthly_newest", "u32", 0, ""),
            ("flash_format", "u16", 0, ""),
            ("journal_erases", "u32", 0, ""),
            ("interval_erases", "u32", 0, ""),
            ("event_erases", "u32", 0, ""),
        ),
    ),
    (
        UPDATE,
        0x0D00,
        "update",
        _HEADER
        + (
            ("update_state", "u16", 0, ""),
            ("slot", "u16", 0, ""),
            ("update_result", "u16", 0, ""),
            ("next_record", "u16", 0, ""),
            ("image_length", "u32", 0, "bytes"),
            ("image_sha256", "b32", 0, ""),
            ("trial_s", "u16", 0, "s"),
            ("legal_sha256", "b32", 0, ""),
        ),
    ),
    (
        LINE,
        0x0E00,
        "line",
        _HEADER
        + (
            ("address", "u16", 0, ""),
            ("baud", "u32", 0, "bit/s"),
            ("parity", "u16", 0, ""),
            ("stop_bits", "u16", 0, ""),
            ("former_address", "u16", 0, ""),
            ("former_baud", "u32", 0, "bit/s"),
            ("former_parity", "u16", 0, ""),
            ("former_stop_bits", "u16", 0, ""),
            ("undone_s", "u16", 0, "s"),
            ("frames", "u16", 0, ""),
            ("bad_frames", "u16", 0, ""),
            ("overruns", "u16", 0, ""),
            ("requests", "u16", 0, ""),
            ("broadcasts", "u16", 0, ""),
            ("foreign_frames", "u16", 0, ""),
            ("bus_heard_s", "u32", 0, "s"),
            ("tcp_heard_s", "u32", 0, "s"),
            ("mqtt_heard_s", "u32", 0, "s"),
            ("mqtt_state", "u16", 0, ""),
            ("mqtt_connects", "u32", 0, ""),
        ),
    ),
)

# Write-only mailboxes, one FC 16 from the base address: length in bytes, CRC-16/MODBUS of the bytes, the bytes padded
# to even length. The answer means "stored whole, CRC right"; the verdict stands in the block `result` (orders), the
# answer to a question in `report`, `batch` or `order`. A wrong CRC, length or range answers exception 3, and nothing
# changes.
ORDER_MAILBOX = 0x1000
ASK_MAILBOX = 0x1100
ACK_MAILBOX = 0x1200
IDENTIFY = 0x1300  # FC 06: blink and beep for that many seconds, 0..600
PARCEL_MAILBOX = 0x1400  # a piece of a body that travels apart (`parcels.py`)
CALIBRATE_MAILBOX = 0x1600  # see meter.calibration; on the service port only, and with the seal switch open
LINE_MAILBOX = 0x1700  # a body of `lines.py`; on the service port only
TOKEN_MAILBOX = 0x1500  # 20 digits of a typed token; there on the service port only, elsewhere exception 2

# FC 20: record number is the sequence number modulo 10 000, file the base + sequence // 10 000; 12 registers a record.
FILE_RECORDS = 10_000
INTERVAL_FILE = 1
EVENT_FILE = 0x8001
DAILY_FILE = 0xE001  # the other logs (records.FORMAT_OF), likewise; as many registers a record as theirs has
MONTHLY_FILE = 0xE101
SWITCH_FILE = 0xE201
TOPUP_FILE = 0xE301
NUISANCE_FILE = 0xE401
IMAGE_FILE = 0xF101  # FC 21: records of an image (`image.py`), 0 its offer, n its piece n - 1
HELD_FILE = 0xF001  # the records of the last question of KIND_HELD, from record 1 on
RECORD_REGISTERS = 12
MINUTE_FILE = 0xE501  # record = (phase - 1) * 60 + minutes back from the last whole one; 24 registers a record

_TYPES = {"i16": "h", "i32": "i", "u16": "H", "u32": "I", "u48": "HI", "u64": "Q", "i64": "q"}


def struct_code(kind: str) -> str:
    """The `struct` code of a field type; a u48 takes two values (high 16 bits, low 32)."""
    if kind in _TYPES:
        return _TYPES[kind]
    return kind[1:] + "s"


def registers_of(kind: str) -> int:
    """How many registers a field of this type takes."""
    return int(kind[1:]) // (2 if kind[0] in "bs" else 16)


def block_struct(fields: "tuple[tuple[str, str, int, str], ...]") -> str:
    """The `struct` format of a block."""
    return ">" + "".join([struct_code(field[1]) for field in fields])


def block_length(fields: "tuple[tuple[str, str, int, str], ...]") -> int:
    """The length of a block in registers, header included."""
    return sum([registers_of(field[1]) for field in fields])


LAYOUTS = tuple([(block[0], block[1], block_length(block[3]), block_struct(block[3])) for block in BLOCKS])
"""(id, address, length in registers, `struct` format) of each block: what a meter needs of BLOCKS."""


def file_of(base: int, seq: int) -> "tuple[int, int]":
    """(file number, record number) of a record by FC 20."""
    return base + seq // FILE_RECORDS, seq % FILE_RECORDS
