"""The smaller logs: switches, top-ups, frozen days and months, and what anybody can cause. Both interpreters."""

import struct

from meter import eventlog
from meter.registers import MeterRegisters
from meterlink import bodies, calendar, events, flashmap, modbus, orders, reasons, records, registers, results, tariff
from meterlink.sts.token import CREDIT
from tests.firmware.ramboard import START_S, Rig
from tests.firmware.tokens import TID, TypedRig

DAY_S = 86_400
DAYS, MONTHS = records.KIND_DAILY, records.KIND_MONTHLY
BERLIN = tariff.Tariff((1_000_000,), utc_offset_quarters=4)  # an hour ahead of UTC


def ready(**changed):
    rig = Rig(credit_uc=10**12, **changed)
    rig.board.watts = 1000
    return rig


# -- switches ----------------------------------------------------------------------------------------------------------


def test_each_switch_is_recorded_with_who_and_what_stood():
    rig = ready()
    rig.run(600, 10)
    assert rig.give(rig.hold(1)) == results.APPLIED
    rig.run(90)
    assert rig.give(rig.release(1)) == results.APPLIED
    rig.run(30)
    opened, closed = rig.logged(records.KIND_SWITCH)
    seq, time_s, is_closed, _, who, epoch, version, import_wh, export_wh, balance_uc, operations = opened
    assert (seq, is_closed, who, (epoch, version), operations) == (1, 0, 1, (1, 1), 1)
    assert (time_s, False) in rig.board.coils and export_wh == 0
    assert 166 <= import_wh <= rig.meter.energy.import_wh and balance_uc == 10**12 - import_wh * 1000
    assert closed[:3] == (2, closed[1], 1) and closed[6] == 2 and closed[10] == 2
    assert (closed[1], True) in rig.board.coils
    rig.outage()
    assert rig.logged(records.KIND_SWITCH) == [opened, closed]


def test_the_meters_own_cause_opens_without_a_version():
    rig = Rig(credit_uc=100_000)
    rig.board.watts = 6000
    rig.run(300)
    (opened,) = rig.logged(records.KIND_SWITCH)
    assert opened[4:7] == (reasons.OWN + reasons.CAUSE_OUT_OF_CREDIT, 0, 0)


def test_a_switch_that_could_not_be_stored_did_not_happen():
    rig = ready()
    assert rig.give(rig.hold(1)) == results.APPLIED
    rig.run(30)
    for sector in range(flashmap.TOTAL_SECTORS):
        rig.board.flash.wear_out(sector)
    rig.run(300)
    assert rig.board.closed and rig.meter.store.newest[records.KIND_SWITCH] == 0
    for sector in range(flashmap.TOTAL_SECTORS):
        rig.board.flash.wear_out(sector, 0)
    rig.run(300)
    assert not rig.board.closed
    rig.outage()
    assert [one[0] for one in rig.logged(records.KIND_SWITCH)] == [1], "one number, one content"


# -- top-ups -----------------------------------------------------------------------------------------------------------


def test_each_sale_has_its_record():
    rig = Rig(credit_uc=1_000_000)
    sales = [(3_000_000, 2_000_000), (6_000_000, 3_000_000)]
    assert rig.give(rig.credit(6_000_000, sales=sales)) == results.APPLIED
    assert rig.give(rig.credit(6_000_000, sales=sales)) == results.ALREADY
    told = rig.logged(records.KIND_TOPUP)
    assert [(one[0], one[2], one[5], one[6], one[10]) for one in told] == [
        (1, 1, 1_000_000, 1_000_000, 1_000_000),
        (2, 1, 2_000_000, 3_000_000, 3_000_000),
        (3, 1, 3_000_000, 6_000_000, 6_000_000),
    ]
    assert {one[4] for one in told} == {records.NO_TID} and {one[12] for one in told} == {records.TOPUP_ORDER}
    rig.outage()
    assert rig.logged(records.KIND_TOPUP) == told


def test_a_typed_token_has_its_record():
    rig = TypedRig()
    rig.type(TID, 255, CREDIT)
    (one,) = rig.logged(records.KIND_TOPUP)
    assert one[2:7] == (orders.SOURCE_TYPED, 1, TID, 25_500_000, 25_500_000)
    assert one[10:13] == (25_500_000, 0, records.TOPUP_TYPED)


def test_what_lifts_a_negative_balance_and_what_waits():
    limits = bodies.Limits(0, 0, 3600, 0, 0, 0, 0, credit_limit_uc=5_000_000)
    rig = Rig(limits=limits, credit_uc=100_000)
    rig.board.watts = 3600
    rig.run(500)
    below_uc = -rig.meter.account.balance_uc()
    assert below_uc > 0
    sales = [(4_100_000, 4_000_000), (10_100_000, 6_000_000)]
    assert rig.give(rig.credit(10_100_000, sales=sales)) == results.APPLIED
    first, second = rig.logged(records.KIND_TOPUP)[1:]
    assert first[7:11] == (0, below_uc, 0, 4_000_000 - below_uc)
    assert second[7:11] == (0, 0, 5_000_000 - below_uc, 5_000_000)
    assert rig.meter.account.waiting_uc == 5_000_000 - below_uc


def test_an_order_that_could_not_be_stored_leaves_no_record():
    rig = ready()
    before = rig.logged(records.KIND_TOPUP)
    for sector in range(flashmap.TOTAL_SECTORS):
        rig.board.flash.wear_out(sector)
    assert rig.give(rig.credit(2 * 10**12)) == results.STORAGE_FAILED
    for sector in range(flashmap.TOTAL_SECTORS):
        rig.board.flash.wear_out(sector, 0)
    rig.run(120)
    assert rig.logged(records.KIND_TOPUP) == before


# -- days and months ---------------------------------------------------------------------------------------------------


def test_each_local_midnight_is_frozen_with_its_registers():
    rig = ready(plan=BERLIN)
    rig.run(3 * DAY_S, 300)
    days = rig.logged(DAYS)
    assert [one[1] for one in days] == [START_S + n * DAY_S - 3600 for n in (1, 2, 3)]
    assert [calendar.date_of(one[2]) for one in days] == [(2026, 1, 1), (2026, 1, 2), (2026, 1, 3)]
    for place in range(1, len(days)):
        before, after = days[place - 1 : place + 1]
        assert after[6] - before[6] == 24_000 == after[8] - before[8], "a kilowatt for a day, in its rate"
    for one in days:
        interval = next(held for held in rig.intervals() if held[1] + 900 == one[1])
        assert one[6] & 0xFFFFFFFF == interval[2], "the register of the interval that ends there"
        assert one[16] == one[18] + one[19] - one[17] and one[6] * 1000 == one[17]
        assert one[20] == 1000 and one[4] == 0
    assert rig.logged(MONTHS) == []


def test_a_month_is_frozen_with_its_highest_demand():
    rig = ready()
    rig.run(20 * DAY_S, 900)
    rig.board.watts = 4000
    rig.run(900, 60)
    peak_s = rig.board.unix_s - 900
    rig.board.watts = 1000
    rig.run(12 * DAY_S, 900)
    (month,) = rig.logged(MONTHS)
    assert calendar.date_of(month[2]) == (2026, 1, 31) and month[1] == START_S + 31 * DAY_S
    assert month[20:] == (4000, peak_s)
    (day,) = [one for one in rig.logged(DAYS) if one[2] == month[2]]
    assert day[5:20] == month[5:20] and day[20] == 1000
    rig.outage(10)
    assert rig.logged(MONTHS) == [month]


def test_a_midnight_without_power_is_made_up_for_once():
    rig = ready()
    rig.run(DAY_S // 2, 300)
    wh = rig.meter.committed()[6]
    rig.outage(3 * DAY_S)
    (day,) = rig.logged(DAYS)
    assert day[1] == START_S + 3 * DAY_S and day[4] & records.FLAG_POWER_FAILED
    assert day[6] == rig.meter.energy.import_wh and wh == 0
    rig.outage(60)
    assert len(rig.logged(DAYS)) == 1
    rig.run(DAY_S, 300)
    assert [one[1] for one in rig.logged(DAYS)] == [START_S + 3 * DAY_S, START_S + 4 * DAY_S]


def test_a_clock_that_jumps_over_midnight_and_back():
    rig = ready()
    rig.run(DAY_S // 2, 300)

    def set_clock(unix_s):
        body = bodies.encode_clock(rig.meter.clock.nonce, unix_s)
        assert rig.give(rig.order(orders.ASPECT_CLOCK, body)) == results.APPLIED

    set_clock(START_S + DAY_S + 100)
    (day,) = rig.logged(DAYS)
    assert day[1] == START_S + DAY_S and day[4] & records.FLAG_CLOCK_CHANGED
    set_clock(START_S + DAY_S - 1000)
    assert len(rig.logged(DAYS)) == 1
    rig.run(2000, 100)
    assert [one[:2] for one in rig.logged(DAYS)] == [(1, START_S + DAY_S), (2, START_S + DAY_S)]


def test_nothing_is_frozen_while_the_time_is_not_known():
    rig = ready()
    rig.run(3600, 300)
    rig.board.clock_valid = False
    rig.outage(60)
    rig.run(2 * DAY_S, 300)
    assert rig.logged(DAYS) == []
    body = bodies.encode_clock(rig.meter.clock.nonce, START_S + 5 * DAY_S)
    assert rig.give(rig.order(orders.ASPECT_CLOCK, body)) == results.APPLIED
    (day,) = rig.logged(DAYS)
    assert day[1] == START_S + 5 * DAY_S and day[4] & records.FLAG_CLOCK_CHANGED


def test_a_midnight_while_flash_fails_is_told_with_its_own_registers():
    rig = ready()
    rig.run(DAY_S - 600, 300)
    for sector in range(flashmap.TOTAL_SECTORS):
        rig.board.flash.wear_out(sector)
    rig.run(600, 60)
    midnight_wh = rig.meter.energy.import_wh
    rig.run(3600, 60)
    assert rig.logged(DAYS) == [] and rig.meter.store.failed
    for sector in range(flashmap.TOTAL_SECTORS):
        rig.board.flash.wear_out(sector, 0)
    rig.run(300, 60)
    (day,) = rig.logged(DAYS)
    assert day[1] == START_S + DAY_S and day[6] == midnight_wh < rig.meter.energy.import_wh


def test_the_logs_hold_what_is_promised():
    rig = ready(plan=tariff.Tariff((1000,)))
    rig.run(90 * DAY_S, 900)
    days = [one[2] for one in rig.logged(DAYS)]
    assert len(days) >= 62 and days == list(range(days[0], days[0] + len(days)))


# -- what anybody can cause --------------------------------------------------------------------------------------------


def test_a_flood_of_refusals_is_bounded_and_counted():
    rig = TypedRig()
    rig.type(TID, 255)
    rig.run(5)
    newest = rig.meter.log.newest
    for _ in range(4 * 3600):
        rig.type(TID, 10)
        rig.run(1)
    assert rig.meter.log.newest == newest, "the log of what matters is left alone"
    assert sum(rig.board.flash.erases[: flashmap.NUISANCE_SECTORS]) <= 1
    ring = rig.meter.store.logs[0]
    told = [records.unpack_event(one) for one in rig.records(ring)]
    refused = [one for one in told if one[2] == events.TOKEN_REFUSED]
    left_out = [one[5] for one in told if one[2] == events.NOT_LOGGED]
    assert eventlog.NUISANCE_BURST <= len(refused) <= eventlog.NUISANCE_BURST + 4 * 6 + 1
    assert 4 * 3600 - 601 <= len(refused) + sum(left_out) <= 4 * 3600
    assert [one[0] for one in told] == list(range(1, len(told) + 1))


# -- over Modbus -------------------------------------------------------------------------------------------------------


def test_each_log_is_a_file():
    rig = TypedRig()
    rig.board.watts = 1000
    rig.type(TID, 255)
    rig.type(TID, 255)
    rig.give(rig.hold(1))
    rig.run(40 * DAY_S, 900)
    space = MeterRegisters(rig.meter)
    out = memoryview(bytearray(300))
    for file, kind in (
        (registers.SWITCH_FILE, records.KIND_SWITCH),
        (registers.TOPUP_FILE, records.KIND_TOPUP),
        (registers.DAILY_FILE, DAYS),
        (registers.MONTHLY_FILE, MONTHS),
    ):
        length = struct.calcsize(records.FORMAT_OF[kind])
        assert space.read_file(file, 1, length // 2, out, 0) == 0
        assert records.unpack(kind, bytes(out[:length])) == rig.logged(kind)[0]
        newest = rig.meter.store.newest[kind]
        assert space.read_file(file, newest + 1, length // 2, out, 0) == modbus.ILLEGAL_ADDRESS
        assert space.read_file(file, 1, length // 2 - 1, out, 0) == modbus.ILLEGAL_VALUE
        assert space.read_file(file - 1, 1, length // 2, out, 0) != 0
        assert space.read_file(file + 1, 1, length // 2, out, 0) == modbus.ILLEGAL_ADDRESS
    assert space.read_file(registers.NUISANCE_FILE, 1, 12, out, 0) == 0
    assert records.unpack_event(bytes(out[:24]))[2] == events.TOKEN_REFUSED


def test_the_block_says_what_is_held():
    rig = ready()
    rig.run(2 * DAY_S, 900)
    space = MeterRegisters(rig.meter)
    for block, base, _, fields in registers.BLOCKS:
        if block == registers.LOGS:
            out = memoryview(bytearray(2 * registers.block_length(fields)))
            assert space.read(base, len(out) // 2, out, 0, False) == 0
            values = dict(zip([field[0] for field in fields], struct.unpack(registers.block_struct(fields), out)))
    assert (values["daily_oldest"], values["daily_newest"], values["monthly_newest"]) == (1, 2, 0)
    assert (values["topup_newest"], values["flash_format"]) == (1, flashmap.FORMAT)
    assert values["journal_erases"] >= 1 and values["interval_erases"] == 1
