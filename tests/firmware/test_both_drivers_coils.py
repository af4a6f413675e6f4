"""Relay coils and pulse inputs on the peripherals of both ports: hardware times and counts, whatever a program does."""

from tests.firmware.chips import ports, rp2
from tests.firmware.chips.wires import Pin, Time

ports.install()

from meter.drivers import pulse_esp32, pulse_out_esp32, pulse_out_rp2, pulse_rp2, relay_esp32, relay_rp2  # noqa: E402

PULSE_MS = 50


def refused(make):
    try:
        make()
    except ValueError:
        return True
    return False


# -- ESP32 -------------------------------------------------------------------------------------------------------------


def test_esp32_a_pulse_has_its_length_and_never_a_companion():
    for pulse_ms in (1, 20, PULSE_MS, relay_esp32.MAX_PULSE_MS):
        time = Time()
        relay = relay_esp32.TwoCoils(Pin(time), Pin(time), pulse_ms)
        relay.coil(True)
        relay.coil(False)  # while the first one runs
        relay.coil(True)
        time.now_us += pulse_ms * 1000
        relay.coil(False)
        time.now_us += 10_000_000  # the program hangs
        close, opened = relay._close, relay._open
        assert [end - begin for begin, end, _ in close.played] == [pulse_ms * 1000]
        assert [end - begin for begin, end, _ in opened.played] == [pulse_ms * 1000]
        for us in range(0, 3 * pulse_ms * 1000, 250):
            assert not (close.high_at(us) and opened.high_at(us))
        assert not close.high_at(time.now_us) and not opened.high_at(time.now_us)
        assert relay.refused == 2


def test_pulse_lengths_that_a_coil_would_not_survive_are_refused():
    time = Time()
    for pulse_ms in (0, -1, 82, 1000):
        assert refused(lambda ms=pulse_ms: relay_esp32.TwoCoils(Pin(time), Pin(time), ms))
    for pulse_ms in (0, 501):
        assert refused(lambda ms=pulse_ms: relay_rp2.TwoCoils(0, pins(time)[0], ms))


def test_esp32_counts_round_its_circle():
    pin = Pin()
    counted = pulse_esp32.PulseInput(0, pin)
    total = 0
    for batch in (0, 1, 31_998, 1, 5, 20_000, 20_000, 31_999, 0, 7):
        counted._counter.pulses(batch)
        total += batch
        assert counted.count() == total


# -- RP2 ---------------------------------------------------------------------------------------------------------------


def pins(time):
    first, second = Pin(time), Pin(time)
    first.next = second
    return first, second


def run(machine, time, steps):
    for _ in range(steps):
        machine.run(1)
        time.now_us += 10


def test_rp2_a_pulse_has_its_length_and_never_a_companion():
    for pulse_ms in (1, PULSE_MS, 500):
        time = Time()
        close, opened = pins(time)
        relay = relay_rp2.TwoCoils(0, close, pulse_ms)
        machine = rp2.StateMachine.made[-1]
        both = 0
        run(machine, time, 10)
        for closing in (True, False, False, True):
            relay.coil(closing)
            relay.coil(not closing)  # while it runs: refused, and not kept for later either
            for _ in range(pulse_ms * 100 + 50):
                run(machine, time, 1)
                both += close.level and opened.level
        run(machine, time, 20_000)  # the program hangs
        assert not both and not close.level and not opened.level and relay.refused == 4
        for pin, wanted in ((close, 2), (opened, 2)):
            times = [us for us, _ in pin.history]
            lengths = [off - on for on, off in zip(times[::2], times[1::2])]
            assert len(lengths) == wanted
            assert 0 <= min(lengths) - pulse_ms * 1000 <= max(lengths) - pulse_ms * 1000 <= 30


def test_rp2_counts_each_pulse_once_also_while_it_is_read():
    pin = Pin()
    counted = pulse_rp2.PulseInput(1, pin)
    machine = rp2.StateMachine.made[-1]
    total = 0
    for width, pause in ((8_000, 40_000), (50, 20), (17, 30), (10, 11), (2000, 2000)):
        for number in range(20):
            pin.level = 1
            machine.run(width)
            total += 1
            if number % 3 == 0:
                assert counted.count() == total
            pin.level = 0
            machine.run(pause)
            assert counted.count() == total, (width, pause)


def test_rp2_noise_is_no_pulse():
    pin = Pin()
    counted = pulse_rp2.PulseInput(1, pin)
    machine = rp2.StateMachine.made[-1]
    for width in range(1, 7):
        pin.level = 1
        machine.run(width)
        pin.level = 0
        machine.run(40)
    assert counted.count() == 0


# -- test output -------------------------------------------------------------------------------------------------------


def lengths(history, end_us):
    """(how long it was high, how long it was low behind it) of each pulse of a pin."""
    times = [us for us, _ in history] + [end_us]
    return [(off - on, after - off) for on, off, after in zip(times[::2], times[1::2], times[2::2])]


def test_esp32_gives_every_pulse_that_was_counted_and_ends_in_time():
    time = Time()
    output = pulse_out_esp32.PulseOut(Pin(time))
    total = 0
    for count in (0, 1, 2, 20, 73, 0, 5):
        output.give(count)
        total += count
        time.now_us += 1_000_000
        played = output._channel.played
        assert not played or played[-1][1] < time.now_us
    rises = [
        begin for (_, _, before), (begin, _, level) in zip([(0, 0, False)] + played, played) if level and not before
    ]
    assert len(rises) == total
    output.give(3)
    output.give(4)  # while the first ones play: they come afterwards
    time.now_us += 1_000_000
    output.give(0)
    assert [level for _, _, level in output._channel.played].count(True) == total + 7


def test_rp2_gives_every_pulse_that_was_counted_and_ends_in_time():
    time = Time()
    pin = Pin(time)
    output = pulse_out_rp2.PulseOut(4, pin)
    machine = rp2.StateMachine.made[-1]
    total = 0
    for count in (0, 1, 2, 20, 73, 0, 5):
        output.give(count)
        total += count
        second_us = time.now_us + 1_000_000
        run_until(machine, time, second_us)
        assert not pin.level
    assert len(pin.history) == 2 * total
    assert {high // 1000 for high, _ in lengths(pin.history[:6], 0)[:2]} == {30}
    assert not machine.tx


def run_until(machine, time, end_us):
    while time.now_us < end_us:
        machine.run(1)
        time.now_us += 10
