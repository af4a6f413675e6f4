"""A whole meter on each board, down to the chips: it meters, trips, closes, keeps the time and its witness."""

import asyncio

from tests.firmware.chips import ports

ports.install()

from meter.boards import esp32s3, esp32s3_wiring, pico_w, pico_w_wiring  # noqa: E402
from meter.drivers import fuses_esp32  # noqa: E402
from meter.ports import INPUT_COVER, INPUT_NEUTRAL_MISSING, INPUT_SEAL_OPEN, INPUT_SUPPLY_BAD, UNKNOWN_DV  # noqa: E402
from meter.slots import TOTAL_SECTORS as SLOTS_SECTORS  # noqa: E402
from meterlink import events, provision, reasons, results, states  # noqa: E402
from meterlink.flashmap import TOTAL_SECTORS  # noqa: E402
from meterlink.provision import ProvisionError  # noqa: E402
from metersim.flash import NorFlash  # noqa: E402
from tests.firmware import ramboard  # noqa: E402
from tests.firmware.chips import atm90e26, bl0942, esp32, i2c, machine, rp2  # noqa: E402

MWS_PER_KWH = 3_600_000_000
SEALED_FUSES = {0x6000_7030: 1 << 19 | 1 << 20, 0x6000_7034: 1 << 18, 0x6000_7038: 1 << 20 | 1 << 22, 0x6000_703C: 1}


def fresh():
    """A bench with new chips; the I2C chips keep what they hold over power cuts."""
    machine.PINS.clear()
    machine.BUSES.clear()
    machine.mem32.clear()
    esp32.Partition.table.clear()
    esp32.NVS.blobs.clear()
    clock, fram = i2c.Clock(), i2c.Fram()
    machine.BUSES["i2c"] = i2c.Bus({0x51: clock, 0x50: fram})
    return clock, fram


class Bench:
    """The world around a board, with the interface that `ramboard.Rig` wants: watts, unix_s, pass_time.

    board: the real one. Its relay is latching: the last coil that had current decides.
    """

    def __init__(self):
        self.clock, self.fram = fresh()
        self.watts = 0
        self.closed = True
        self.flowed_mws = 0
        self.make()
        self.board.set_rtc(ramboard.START_S)

    def __getattr__(self, name):
        return getattr(self.board, name)

    @property
    def unix_s(self):
        return i2c_time(self.clock)

    def sense(self):
        machine.Pin(self.wiring.LOAD_SIDE).level = 0 if self.closed else 1

    def pass_time(self, seconds):
        for _ in range(seconds):
            self.clock.run(1)
            machine.TIME.now_us += 1_000_000
            self.relay()
            self.sense()
            self.flow(self.watts if self.closed else 0)
            self.board.mono_s += 1
            asyncio.run(self.board.refresh())


def i2c_time(clock):
    from meter.drivers.pcf8563 import Pcf8563

    return Pcf8563(i2c.Bus({0x51: clock})).rtc()[0]


class Esp32Bench(Bench):
    imp_per_kwh = ramboard.IMP_PER_KWH
    wiring = esp32s3_wiring

    def __init__(self, fuses=None):
        self.fuses = fuses or {}
        self.nor = None
        super().__init__()

    def make(self):
        """Power comes: the board starts from its boot stage."""
        machine.PINS.clear()
        self.sense()
        machine.mem32.update({address: self.fuses.get(address, 0) for address in range(0x6000_702C, 0x6000_7044, 4)})
        if self.nor is None:
            self.nor = NorFlash(2 * TOTAL_SECTORS, unit_bytes=8)
        esp32.Partition.table["meter"] = self.nor
        self.chip = atm90e26.Chip(imp_per_kwh=ramboard.IMP_PER_KWH)
        machine.BUSES["spi"] = machine.PINS[esp32s3_wiring.SPI_CS] = self.chip
        self.board = esp32s3.Esp32S3Board()

    def relay(self):
        relay = self.board._parts.relay
        ends = [
            (play[1], close) for close, coil in ((True, relay._close), (False, relay._open)) for play in coil.played
        ]
        if ends:
            self.closed = max(ends)[1]

    def flow(self, watts):
        self.chip.power_w = watts
        self.chip.current_ma = watts * 1000 // 230
        self.chip.flow(watts * 1000)
        self.flowed_mws += watts * 1000


class PicoBench(Bench):
    imp_per_kwh = 3200
    wiring = pico_w_wiring
    pages = None

    def make(self):
        """Power comes."""
        machine.PINS.clear()
        self.sense()
        rp2.StateMachine.made.clear()
        if self.pages is None:
            self.pages = rp2.Pages(TOTAL_SECTORS + 20)
        rp2.DEVICE[0] = self.pages
        self.chip = bl0942.Chip()
        machine.BUSES[1] = self.chip
        self.board = pico_w.PicoWBoard()

    def relay(self):
        for one in rp2.StateMachine.made:
            one.run(10_000)  # a tenth of a second: far longer than a pulse
        close, opened = machine.Pin(self.wiring.COILS), machine.Pin(self.wiring.COILS + 1)
        if close.history or opened.history:
            self.closed = max(close.history + [(-1, 0)])[0] > max(opened.history + [(-1, 0)])[0]

    def flow(self, watts):
        self.chip.watt_raw = watts * 623_394 // 1000
        self.chip.current_raw = watts * 251_214 // 230
        self.chip.voltage_raw = 3_653_176
        self.chip.flow()
        self.flowed_mws += watts * 1000


class BoardRig(ramboard.Rig):
    """`ramboard.Rig` over a real board: its start is the board's."""

    def boot(self):
        self.board.make()
        super().boot()

    def record(self, **changed):
        return super().record(imp_per_kwh=self.board.imp_per_kwh, **changed)


def metered_wh(rig):
    return rig.meter.energy.import_wh


def test_esp32_a_meter_meters_trips_closes_and_keeps_its_books():
    bench = Esp32Bench()
    rig = BoardRig(bench, credit_uc=20_000_000)
    bench.watts = 3000
    rig.run(360)
    assert metered_wh(rig) == bench.flowed_mws // 3_600_000 == 300
    assert rig.meter.allowance.cover_uc(0) < 20_000_000 and bench.load_ma() == 13_043
    assert rig.give(rig.hold(reasons.HOLD_ARREARS)) == results.APPLIED
    rig.run(rig.limits.trip_delay_s + 3)
    assert not bench.closed and bench.contact() == states.CONTACT_OPEN
    assert rig.meter.supply.control == states.CONTROL_DISCONNECTED and bench.load_ma() == 0
    rig.run(60)
    before = metered_wh(rig)
    assert rig.give(rig.release(reasons.HOLD_ARREARS)) == results.APPLIED
    rig.run(30)
    assert bench.closed and bench.contact() == states.CONTACT_CLOSED
    assert rig.meter.supply.control == states.CONTROL_CONNECTED and metered_wh(rig) > before
    witness = bench.board.witness()
    assert witness > 0 and rig.meter.clock.known
    committed = rig.meter.committed()[1]
    rig.boot()
    assert rig.meter.commissioned and not rig.meter.history_lost and not rig.meter.damaged
    assert metered_wh(rig) == committed and bench.board.witness() >= witness and rig.meter.clock.known


def test_esp32_flash_put_back_is_found_by_the_witness():
    bench = Esp32Bench()
    rig = BoardRig(bench, credit_uc=20_000_000)
    old = bench.nor.snapshot()
    rig.give(rig.credit(30_000_000))
    bench.nor.restore(old)
    rig.boot()
    assert rig.meter.history_lost


def test_esp32_is_sealed_by_its_fuses_and_nothing_else():
    assert Esp32Bench().board_class == 1
    sealed = Esp32Bench(SEALED_FUSES)
    assert sealed.board_class == 2 and sealed.unsealed == []
    wanted = [name for name, _, _ in fuses_esp32.FUSES] + ["DIS_DOWNLOAD_MODE"]
    assert Esp32Bench().unsealed == wanted
    for address, word in SEALED_FUSES.items():
        for bit in range(32):
            if word >> bit & 1:
                fuses = dict(SEALED_FUSES)
                fuses[address] ^= 1 << bit
                one = Esp32Bench(fuses)
                assert one.board_class == 1 and len(one.unsealed) == 1, (hex(address), bit)
    twice = dict(SEALED_FUSES)
    twice[0x6000_7034] = 3 << 18  # encryption turned on and off again
    assert Esp32Bench(twice).unsealed == ["SPI_BOOT_CRYPT_CNT"]
    secure_loader = dict(SEALED_FUSES)
    secure_loader[0x6000_703C] = 1 << 5
    assert Esp32Bench(secure_loader).board_class == 2


def test_keys_of_the_other_kind_are_refused():
    for fuses, use in ((None, provision.USE_PRODUCTION), (SEALED_FUSES, provision.USE_BENCH)):
        rig = BoardRig(Esp32Bench(fuses), commission=False)
        try:
            rig.meter.provision(rig.record(use=use))
            raise AssertionError("it was taken")
        except ProvisionError:
            pass
        assert not rig.meter.commissioned


def test_a_sealed_board_leaves_nothing_to_read_in_its_flash():
    bench = Esp32Bench(SEALED_FUSES)
    rig = BoardRig(bench, commission=False)
    record = rig.record(use=provision.USE_PRODUCTION)
    rig.meter.provision(record)
    assert rig.give(rig.credit(5_000_000)) == results.APPLIED
    image = bytes(bench.nor.data)
    for at in range(0, len(record) - 8, 8):
        assert record[at : at + 8] not in image
    assert bytes(range(8)) not in image, "the per-meter key"
    key = esp32.NVS.blobs["openprepay", "flash"]
    assert len(key) == 32
    rig.boot()
    assert rig.meter.commissioned and rig.meter.account.balance_uc() == 5_000_000
    assert esp32.NVS.blobs["openprepay", "flash"] == key


def test_esp32_inputs_and_a_silent_chip():
    bench = Esp32Bench()
    rig = BoardRig(bench, credit_uc=20_000_000)
    assert bench.inputs() == INPUT_SEAL_OPEN | INPUT_COVER | 2, "nothing is wired: pull-ups say open"
    for number in (bench.wiring.COVER, bench.wiring.TERMINAL_COVER, bench.wiring.SEAL):
        machine.Pin(number).level = 0
    assert bench.inputs() == 0
    machine.Pin(bench.wiring.SUPPLY_BAD).level = 0
    assert bench.inputs() == INPUT_SUPPLY_BAD
    machine.Pin(bench.wiring.SUPPLY_BAD).level = 1
    bench.watts = 2000
    bench.chip.voltage_cv = 0
    rig.run(1)
    assert bench.inputs() == INPUT_NEUTRAL_MISSING
    bench.chip.dead = True
    rig.run(5)
    assert bench.voltage_dv() == UNKNOWN_DV and bench.load_ma() == 0 and bench.quantities() == ((0, 0, 0, 0, 0),)
    assert rig.meter.clock.known and rig.meter.senses.quantities.now[0][1] > 8000, "what was measured last"
    assert events.PULSES_MISSING not in [event[0] for event in rig.events()]
    rig.run(60)
    assert [event[0] for event in rig.events()].count(events.PULSES_MISSING) == 1
    assert rig.report().latches >> states.LATCH_METERING & 1, "free energy is told, and stays latched"
    bench.chip.dead = False
    bench.chip.voltage_cv = 23_000
    rig.run(60)
    assert events.METERING_AGREES in [event[0] for event in rig.events()]


def test_pico_a_meter_meters_trips_and_closes():
    bench = PicoBench()
    assert bench.board_class == 1
    rig = BoardRig(bench, credit_uc=20_000_000)
    bench.watts = 2000
    rig.run(360)
    assert abs(metered_wh(rig) - bench.flowed_mws // 3_600_000) <= 2 and metered_wh(rig) >= 198
    assert rig.give(rig.hold(reasons.HOLD_ARREARS)) == results.APPLIED
    rig.run(rig.limits.trip_delay_s + 3)
    assert not bench.closed and bench.contact() == states.CONTACT_OPEN
    rig.run(30)
    assert rig.give(rig.release(reasons.HOLD_ARREARS)) == results.APPLIED
    rig.run(30)
    assert bench.closed and rig.meter.supply.control == states.CONTROL_CONNECTED
    rig.boot()
    assert rig.meter.commissioned and not rig.meter.damaged and bench.board.witness() > 0


def test_pico_counts_pulses_where_there_is_no_chip():
    pico_w_wiring.CHIP = "PULSES"
    try:
        bench = PicoBench()
        for _ in range(5):
            machine.Pin(bench.wiring.PULSE_IN).level = 1
            bench.relay()
            machine.Pin(bench.wiring.PULSE_IN).level = 0
            bench.relay()
        asyncio.run(bench.refresh())
        assert bench.pulses() == (5, 0) and bench.quantities() == () and bench.voltage_dv() == UNKNOWN_DV
    finally:
        pico_w_wiring.CHIP = "BL0942"


def test_esp32_an_image_that_was_changed_after_it_was_armed_is_not_genuine():
    bench = Esp32Bench()
    esp32.Partition.table["romfs"] = NorFlash(SLOTS_SECTORS)
    bench.make()
    assert bench.board.slots is not None and bench.board.slots.choose() == 0
    places = bench.board.slots
    places.program(1, 0, b"\xd2\xcd\x31\x80\x80\x80\x20" + bytes(32))  # the head of a ROMFS of 32 bytes
    assert not places.genuine(1), "nobody has armed it"
    places.arm(1)
    assert places.genuine(1) and not places.genuine(2)
    esp32.Partition.table["romfs"].flip((2 * 4096 + 30) * 8)
    assert not places.genuine(1)
    esp32.Partition.table["romfs"] = NorFlash(SLOTS_SECTORS - 1)
    bench.make()
    assert bench.board.slots is None
