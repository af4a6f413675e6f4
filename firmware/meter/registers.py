"""The meter on Modbus: the blocks of `meterlink.registers` from snapshots, the mailboxes, and the records as files.

One object a link, so that what one master asks or latches does not move under another.
"""

import struct

from meter import core, line, register_account, register_senses, register_supply, reporting, store
from meter.ports import INDICATE_IDENTIFY
from meter.release import LEGAL_VERSION, VERSION
from meterlink import batches, flashmap, modbus, orders, records, registers, results
from meterlink.batches import BatchError
from meterlink.modbus import crc16
from meterlink.parcels import ParcelError
from meterlink.sts.token import DIGITS

MAX_IDENTIFY_S = 600
_MAIL_HEAD = 2  # registers in front of a mailbox's bytes: length, CRC
_VENDOR = (b"openprepay", b"meter", VERSION.encode())


class MeterRegisters(modbus.RegisterSpace):
    """What a meter shows to one link (`carrier`: Meter.CARRIER_*, CARRIER_LOCAL for a service port)."""

    def __init__(self, meter, carrier: int = core.Meter.CARRIER_BUS) -> None:
        self._meter = meter
        self._carrier = carrier
        images: "list[bytes | bytearray]" = [b""] * len(registers.LAYOUTS)
        self._images = images  # a bytearray a block, made when it is first asked for
        self._latched = [0] * len(registers.LAYOUTS)
        self._report = b""
        self._batch = b""
        self._order = b""
        self._held = b""
        self._record = bytearray(2 * registers.RECORD_REGISTERS)

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, address: int, count: int, out: memoryview, offset: int, input_registers: bool) -> int:
        """From one block. Its first register latches it; before the first latch any register does."""
        for i in range(len(registers.LAYOUTS)):
            _, base, length, _ = registers.LAYOUTS[i]
            if base <= address and address + count <= base + length:
                if address == base or not self._latched[i]:
                    self._latch(i)
                start = 2 * (address - base)
                out[offset : offset + 2 * count] = memoryview(self._images[i])[start : start + 2 * count]
                return 0
        return modbus.ILLEGAL_ADDRESS

    def _latch(self, i: int) -> None:
        self._meter.heard_s[self._carrier] = self._meter.mono_s
        self._latched[i] = self._latched[i] % 0xFFFF + 1
        block, _, length, form = registers.LAYOUTS[i]
        values = _VALUES[block](self)
        if block != registers.IDENT:
            values = (block, length, self._latched[i], self._meter.now_s()) + values
        if not self._images[i]:
            self._images[i] = bytearray(2 * length)
        struct.pack_into(form, self._images[i], 0, *values)

    def _ident(self) -> tuple:
        meter = self._meter
        given = meter.given
        return (
            registers.SELF_TEST,
            registers.IDENT,
            registers.LAYOUTS[0][2],
            registers.MAP_VERSION,
            meter.number >> 32,
            meter.number & 0xFFFFFFFF,
            meter.account_epoch,
            meter.tag_key_version,
            meter.board.board_class,
            VERSION.encode(),
            LEGAL_VERSION,
            meter.energy.imp_per_kwh,
            meter.profile.minutes,
            given.currency if given else 0,
            meter.log_id,
            meter.boot,
        )

    def _hot(self) -> tuple:
        meter = self._meter
        supply, relay, board, prices = meter.supply, meter.supply.relay, meter.board, meter.pricing
        c = meter.committed()
        pending = supply.pending()
        return (
            (
                1 if meter.clock.known else 0,
                supply.control,
                relay.contact,
                relay.diagnosis,
                pending[0],
                reporting.due_s(meter, pending),
                supply.holds,
                supply.causes,
                meter.alarms(),
                relay.load_ma,
                relay.no_load_s,
                board.voltage_dv(),
                board.power_w(),
                c[1],
                c[3],
                c[10],
                c[5],
                c[6],
                c[7],
                c[8],
                c[9],
                c[25],
                prices.rate,
                prices.price_uc_per_kwh(),
                prices.active_version[0],
                prices.active_version[1],
            )
            + reporting.held_seq(meter.store.intervals)
            + reporting.held_seq(meter.store.events)
            + (
                min(meter.unclean_starts, 0xFFFF),
                meter.clock.nonce,
                meter.latches.word,
                meter.allowance.mode,
                meter.allowance.until_wh(),
            )
        )

    def _result(self) -> tuple:
        r = self._meter.result(self._carrier)
        return (
            r.pending_id,
            r.done_id,
            r.code,
            r.aspect,
            r.selector,
            r.signing_epoch,
            r.version,
            r.digest8,
            r.judged_s,
        )

    def _report_values(self) -> tuple:
        return len(self._report), self._report

    def _batch_values(self) -> tuple:
        return self._batch[: batches.HEAD_LENGTH], self._batch[-batches.MAC_LENGTH :]

    def _sources(self) -> tuple:
        """Those in their places; what folded sources came to stands in the first free one, under number 0."""
        account = self._meter.account
        entries = [tuple(entry) for entry in account.sources] + [(0, 0, 0)] * registers.MAX_SOURCES
        entries[entries.index((0, 0, 0))] = (0,) + account.totals(0)
        values = ()
        for entry in entries[: registers.MAX_SOURCES]:
            values += entry
        return values

    def _order_values(self) -> tuple:
        return len(self._order), self._order

    def _logs(self) -> tuple:
        kept = self._meter.store
        held: tuple = ()
        for place in (
            store.NUISANCE,
            records.KIND_SWITCH,
            records.KIND_TOPUP,
            records.KIND_DAILY,
            records.KIND_MONTHLY,
        ):
            held += reporting.held_seq(kept.logs[place])
        return held + (
            flashmap.FORMAT,
            kept.journal.erase_count,
            (kept.intervals.generation + flashmap.INTERVALS_SECTORS) // flashmap.INTERVALS_SECTORS,
            (kept.events.generation + flashmap.EVENTS_SECTORS) // flashmap.EVENTS_SECTORS,
        )

    def _token_values(self) -> tuple:
        typed = self._meter.typed
        last = typed.last
        return (
            (
                typed.count,
                last.code,
                last.token_class,
                last.subclass,
                last.tid,
                last.amount_uc,
                last.control >> 32,
                last.control & 0xFFFFFFFF,
                self._meter.account.totals(orders.SOURCE_TYPED)[0],
                typed.lockout.left_s,
                typed.sections_stored(),
            )
            + typed.attributes
            + (self._meter.supply.power_limit_w,)
        )

    def _energy(self) -> tuple:
        return register_senses.energy(self._meter)

    def _supply(self) -> tuple:
        return register_supply.supply(self._meter)

    def _account(self) -> tuple:
        return register_account.account(self._meter)

    def _quantities(self) -> tuple:
        return register_senses.quantities(self._meter)

    def _line(self) -> tuple:
        return line.block(self._meter)

    def _update(self) -> tuple:
        update = self._meter.update
        return (
            update.state,
            update.running(),
            update.result,
            update.next_record(),
            update.length,
            update.digest,
            update.left_s(),
            update.legal_sha256,
        )

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, address: int, count: int, data: memoryview) -> int:
        """A whole mailbox in one write, or IDENTIFY."""
        if address == registers.IDENTIFY and count == 1:
            return self._identify(data[0] << 8 | data[1])
        handler = _MAILBOXES.get(address)
        if handler is None or (address in _LOCAL and self._carrier != core.Meter.CARRIER_LOCAL):
            return modbus.ILLEGAL_ADDRESS
        length = data[0] << 8 | data[1]
        if count <= _MAIL_HEAD or count != _MAIL_HEAD + (length + 1) // 2:
            return modbus.ILLEGAL_VALUE
        mail = bytes(data[2 * _MAIL_HEAD : 2 * _MAIL_HEAD + length])
        if crc16(mail) != data[2] << 8 | data[3]:
            return modbus.ILLEGAL_VALUE
        return handler(self, mail)

    def _identify(self, seconds: int) -> int:
        if seconds > MAX_IDENTIFY_S:
            return modbus.ILLEGAL_VALUE
        self._meter.identify_until_s = self._meter.mono_s + seconds
        self._meter.board.indicate(INDICATE_IDENTIFY, seconds)
        return 0

    def _take_order(self, mail: bytes) -> int:
        """Busy where an order that waits has not given way: then nothing was stored."""
        before = self._meter.result(self._carrier).pending_id
        code = self._meter.submit(self._carrier, mail)
        taken = code == results.PENDING or self._meter.result(self._carrier).pending_id != before
        return 0 if taken else modbus.DEVICE_BUSY

    def _take_ask(self, mail: bytes) -> int:
        """The answer stands in its block, latched now."""
        try:
            kind, reply = self._meter.ask(mail)
        except BatchError:
            return modbus.ILLEGAL_VALUE
        if kind == batches.KIND_ORDER:
            self._order = reply
            self._latch_id(registers.ORDER)
        elif kind in (batches.KIND_INTERVALS, batches.KIND_EVENTS, batches.KIND_HELD):
            self._batch = reply
            self._latch_id(registers.BATCH)
            if kind == batches.KIND_HELD:
                self._held = reply[batches.HEAD_LENGTH : -batches.MAC_LENGTH]
        else:
            self._report = reply
            self._latch_id(registers.REPORT)
        return 0

    def _take_token(self, mail: bytes) -> int:
        """What became of it stands in its block, latched now."""
        if len(mail) != DIGITS or not mail.isdigit():
            return modbus.ILLEGAL_VALUE
        self._meter.type_token(mail.decode())
        self._latch_id(registers.TOKEN)
        return 0

    def _take_calibration(self, mail: bytes) -> int:
        """Busy where the seal switch is closed, failed where flash is."""
        return _CALIBRATED.get(self._meter.senses.calibration.take(mail), modbus.ILLEGAL_VALUE)

    def _take_line(self, mail: bytes) -> int:
        """The bus follows once it is quiet."""
        return _CALIBRATED.get(self._meter.line.take(mail), modbus.ILLEGAL_VALUE)

    def _take_ack(self, mail: bytes) -> int:
        try:
            self._meter.ack(mail)
        except BatchError:
            return modbus.ILLEGAL_VALUE
        return 0

    def _take_parcel(self, mail: bytes) -> int:
        try:
            self._meter.parcels.take(self._carrier, mail)
        except ParcelError:
            return modbus.ILLEGAL_VALUE
        return 0

    def _latch_id(self, block: int) -> None:
        for i in range(len(registers.LAYOUTS)):
            if registers.LAYOUTS[i][0] == block:
                self._latch(i)

    # -- files ---------------------------------------------------------------------------------------------------------

    def read_file(self, file: int, record: int, count: int, out: memoryview, offset: int) -> int:
        """Whole records, one or several in a row. An address where one of them is not held is illegal."""
        if file == registers.MINUTE_FILE:
            found = register_senses.minute(self._meter, record, count, out, offset)
            return 0 if found else modbus.ILLEGAL_ADDRESS
        if file >> 8 in _LOGS and file & 0xFF:
            place, length = _LOGS[file >> 8]
            seq = ((file & 0xFF) - 1) * registers.FILE_RECORDS + record
            return _read(self._meter.store.logs[place], seq, bytearray(length), count, out, offset)
        if count % registers.RECORD_REGISTERS:
            return modbus.ILLEGAL_VALUE
        if file == registers.HELD_FILE:
            at = (record - 1) * len(self._record)
            part = self._held[max(at, 0) : at + 2 * count]
            if len(part) != 2 * count:
                return modbus.ILLEGAL_ADDRESS
            out[offset : offset + len(part)] = part
            return 0
        event = file >= registers.EVENT_FILE
        ring = self._meter.store.events if event else self._meter.store.intervals
        base = registers.EVENT_FILE if event else registers.INTERVAL_FILE
        return _read(ring, (file - base) * registers.FILE_RECORDS + record, self._record, count, out, offset)

    def write_file(self, file: int, record: int, data: memoryview) -> int:
        """A record of an image."""
        if file != registers.IMAGE_FILE or self._meter.update.slots is None:
            return modbus.ILLEGAL_ADDRESS
        code = self._meter.update.take(self._carrier, record, data)
        return _EXCEPTION.get(code, modbus.ILLEGAL_VALUE)

    def answered(self) -> None:
        """A reply has left on the link."""
        self._meter.update.spoke(self._carrier)

    def identification(self, object_id: int) -> "bytes | None":
        """Vendor, product code and revision."""
        return _VENDOR[object_id] if object_id < len(_VENDOR) else None


def _read(ring, seq: int, record: bytearray, count: int, out: memoryview, offset: int) -> int:
    """Records from `seq` on, `count` registers of them, by way of a buffer of one record."""
    length = len(record)
    if 2 * count % length:
        return modbus.ILLEGAL_VALUE
    for _ in range(2 * count // length):
        if not ring.read_into(seq, record):
            return modbus.ILLEGAL_ADDRESS
        out[offset : offset + length] = record
        offset += length
        seq += 1
    return 0


# By the high byte of a file: place in Store.logs, and the length of a record
_LOGS = {
    registers.DAILY_FILE >> 8: (records.KIND_DAILY, records.FREEZE_LENGTH),
    registers.MONTHLY_FILE >> 8: (records.KIND_MONTHLY, records.FREEZE_LENGTH),
    registers.SWITCH_FILE >> 8: (records.KIND_SWITCH, records.SWITCH_LENGTH),
    registers.TOPUP_FILE >> 8: (records.KIND_TOPUP, records.TOPUP_LENGTH),
    registers.NUISANCE_FILE >> 8: (store.NUISANCE, records.RECORD_LENGTH),
}
# Mailboxes of the service port alone
_LOCAL = (registers.TOKEN_MAILBOX, registers.CALIBRATE_MAILBOX, registers.LINE_MAILBOX)
_CALIBRATED = {
    results.APPLIED: 0,
    results.SEALED: modbus.DEVICE_BUSY,
    results.STORAGE_FAILED: modbus.DEVICE_FAILURE,
}
_EXCEPTION = {
    results.APPLIED: 0,
    results.BUSY: modbus.DEVICE_BUSY,
    results.BODY_MISSING: modbus.ILLEGAL_ADDRESS,
    results.STORAGE_FAILED: modbus.DEVICE_FAILURE,
}
_VALUES = {
    registers.UPDATE: MeterRegisters._update,
    registers.LINE: MeterRegisters._line,
    registers.LOGS: MeterRegisters._logs,
    registers.IDENT: MeterRegisters._ident,
    registers.HOT: MeterRegisters._hot,
    registers.RESULT: MeterRegisters._result,
    registers.REPORT: MeterRegisters._report_values,
    registers.BATCH: MeterRegisters._batch_values,
    registers.SOURCES: MeterRegisters._sources,
    registers.ORDER: MeterRegisters._order_values,
    registers.TOKEN: MeterRegisters._token_values,
    registers.ACCOUNT: MeterRegisters._account,
    registers.SUPPLY: MeterRegisters._supply,
    registers.ENERGY: MeterRegisters._energy,
    registers.QUANTITIES: MeterRegisters._quantities,
}
_MAILBOXES = {
    registers.ORDER_MAILBOX: MeterRegisters._take_order,
    registers.ASK_MAILBOX: MeterRegisters._take_ask,
    registers.ACK_MAILBOX: MeterRegisters._take_ack,
    registers.PARCEL_MAILBOX: MeterRegisters._take_parcel,
    registers.TOKEN_MAILBOX: MeterRegisters._take_token,
    registers.CALIBRATE_MAILBOX: MeterRegisters._take_calibration,
    registers.LINE_MAILBOX: MeterRegisters._take_line,
}
