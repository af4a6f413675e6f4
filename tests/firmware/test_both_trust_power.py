"""Power cuts at every flash operation while an account is folded, moded, rekeyed, closed, opened, retired, recovered:
each order holds whole or not at all, and the same order again ends in the same state. Both interpreters."""

import struct

from meter import held, store
from meterlink import bodies, flashmap, orders, reasons, results
from metersim.flash import NorFlash
from tests.firmware import stated
from tests.firmware.ramboard import KEYS, RamBoard, Rig
from tests.powercut import sweep

ATTRIBUTES = (123_456, 2, 1, 3, 255, 1)
NEW_KEY = bytes(range(100, 132))
HOLD_MASK = 1 << reasons.HOLD_LEGAL
TID = 6_000_000


def closing(meter):
    """What the closing statement says of the account; its time and its log may be of another start."""
    raw = meter.store.get(store.KEY_CLOSING)
    if not raw:
        return None
    money = struct.unpack_from(store.CHECKPOINT, raw, store.CLOSING_LENGTH)
    return struct.unpack_from(store.CLOSING, raw, 0) + money[1:12]


def trust(meter):
    """All that these orders change."""
    account = meter.account
    return (
        (meter.account_epoch, meter.supply.retired, meter.floor, meter.top, meter.history_lost),
        (account.pack_sources(), account.folded, account.rest_from, account.balance_uc(), account.earned_uc),
        (account.adjusted_uc, account.charged_uc, account.remainder, meter.energy.import_wh),
        (meter.allowance.state(), meter.supply.holds, meter.latches.word),
        (meter.signing_keys, meter.tag_key_version, len(meter.tag_keys()), meter.typed.key, meter.typed.tids.words),
        [held.order(meter, aspect, selector) for aspect, selector in held.subjects(meter)],
        closing(meter),
    )


class Life(Rig):
    """The script on one flash; `boot_and_check` is for the flash as a cut left it."""

    def begin(self, flash):
        Rig.__init__(self, RamBoard(flash), commission=False)
        self.meter.provision(self.record(decoder=(bytes(range(16)), ATTRIBUTES)))
        self.board.watts = 3600
        assert self.give(self.credit(50_000_000)) == results.APPLIED
        assert self.give(self.credit(7_000_000, source=2)) == results.APPLIED
        self.run(120)
        self.board.watts = 0
        self.run(60)

    def settle(self, raw, pieces=(), code=results.APPLIED):
        """Give an order; whatever a cut leaves is the state before it or the one after it."""
        self.before, self.raw, self.pieces, self.seen = trust(self.meter), raw, pieces, []
        for piece in pieces:
            self.meter.parcels.take(0, piece)
        assert self.give(raw) == code
        assert [state for state in self.seen if state != trust(self.meter)] == []
        self.raw = None

    def reborn(self, flash):
        board = RamBoard(flash)
        for name in ("closed", "unix_s", "watts", "kept_witness"):
            setattr(board, name, getattr(self.board, name))
        return Rig(board, commission=False)

    def boot_and_check(self, flash):
        if self.raw is None:
            return
        other = self.reborn(flash)
        other.balances()
        state = trust(other.meter)
        for piece in self.pieces:
            other.meter.parcels.take(0, piece)
        code = other.give(self.raw)
        if state == self.before:
            lost = other.meter.history_lost and code == results.BAD_NONCE  # the nonce went with the power
            assert lost or code == results.APPLIED, code
            if not lost:
                self.seen.append(trust(other.meter))
        else:
            self.seen.append(state)
            assert code == results.ALREADY, code
        other.outage()
        assert trust(other.meter) == (
            self.before if state == self.before and code == results.BAD_NONCE else self.seen[-1]
        )

    # -- the script ----------------------------------------------------------------------------------------------------

    def account_orders(self):
        body = bodies.encode_credit(60_000_000, 1000, [(60_000_000, 10_000_000)], True, ((3, TID), (3, TID + 9)))
        self.settle(self.order(orders.ASPECT_CREDIT, body, 1))
        self.settle(self.order(orders.ASPECT_MODE, stated.remote(4000, 5_000_000, 100, 100, 777)))
        self.settle(self.order(orders.ASPECT_MODE, stated.mode(0, 9999)))
        self.settle(self.hold(reasons.HOLD_LEGAL))
        self.settle(self.hold(reasons.HOLD_MOVE_OUT))
        self.account_epoch = 2
        self.settle(self.order(orders.ASPECT_EPOCH, stated.epoch(kept_holds=HOLD_MASK)))
        self.settle(self.credit(123_456, source=2))
        self.settle(self.order(orders.ASPECT_RETIRE, stated.retire()))
        self.account_epoch = 7
        self.settle(self.order(orders.ASPECT_EPOCH, stated.epoch()))

    def key_orders(self):
        keys = [(role, 1, KEYS[role]) for role in (1, 2, 3)] + [(2, 9, KEYS[1])]
        self.settle(*self.apart(orders.ASPECT_KEYS, stated.signing_keys(keys)))
        self.version += 1
        body = stated.tag_keys([(2, NEW_KEY), (1, b"")], self.mac_key, self.version)
        self.settle(self.order(orders.ASPECT_KEYS, body, orders.KEYS_TAG, version=self.version))
        self.version += 1
        body = stated.decoder(NEW_KEY[:16], ATTRIBUTES[:3] + (4, 255, 1), self.mac_key, self.version)
        self.settle(self.order(orders.ASPECT_KEYS, body, orders.KEYS_DECODER, version=self.version))
        self.meter.latch(1)
        self.run(1)
        self.settle(self.order(orders.ASPECT_CLEAR, stated.clear(2, 0xFFFF)))
        self.settle(self.order(orders.ASPECT_FIRMWARE, stated.firmware()))

    def recover_order(self):
        image = self.board.flash.snapshot()
        assert self.give(self.credit(90_000_000)) == results.APPLIED
        watch, self.board.flash.watch = self.board.flash.watch, None
        self.board.flash.restore(image)
        self.outage()
        self.run(60)
        self.board.flash.watch = watch
        assert self.meter.history_lost
        sources = ((1, 90_000_000, 5), (2, 7_000_000, 0))
        body = stated.recover(self.meter.clock.nonce, sources, charged_uc=120_000, import_wh=9000)
        self.settle(*self.apart(orders.ASPECT_RECOVER, body, version=500))
        assert self.meter.account.credited_uc == 97_000_000 and not self.meter.history_lost


def swept(script):
    life = Life()
    life.raw = None

    def workload(flash):
        life.begin(flash)
        script(life)

    result = sweep(NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8), workload, life.boot_and_check)
    assert result.operations > 10
    return result


def test_accounts_cut_at_every_operation():
    """OP-ORD-30"""
    swept(Life.account_orders)


def test_keys_cut_at_every_operation():
    """OP-ORD-30"""
    swept(Life.key_orders)


def test_recovery_cut_at_every_operation():
    """OP-ORD-30"""
    swept(Life.recover_order)
