"""A head end that keeps its books in kWh, and one meter with the firmware itself that takes typed tokens."""

import random
from typing import Any

from sqlalchemy import Row, select, update

from headend.clock import ManualClock
from headend.engine import Engine
from headend.keys.holder import BENCH, VendingName
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import reconcile
from headend.store import Store
from headend.store.schema import meter as meter_table
from headend.store.schema import meter_state, token
from headend.tokens import book, decoder, making, replacing, vending
from headend.tokens.decoder import Decoder
from meter.exchange import Exchange
from meterlink import topics
from meterlink.provision import CURRENCY_ENERGY
from meterlink.tariff import Tariff
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Constant
from tests.host.books import CHANNEL, METER, NOW_S, open_books
from tests.host.core_rig import Pair
from tests.host.peer import Noise

GROUP = 123_457
HELD = Decoder(decoder.pan_of(METER), GROUP)
KWH_UC = 1_000_000
CAPS = Caps(10**12, token_day_wh=10**9, token_month_wh=10**9)


def vending_keys(seed: int = 1) -> KeyStore:
    """A key store with the vending keys of revisions 1 and 2 of `GROUP`."""
    keys = KeyStore.generate(random.Random(seed).randbytes, use=BENCH)
    for revision in (1, 2):
        keys.add_vending_key(VendingName(GROUP, revision), vending_key(revision))
    return keys


def vending_key(revision: int) -> bytes:
    """The same in every run."""
    return random.Random(revision).randbytes(20)


def energy_books(url: str = "", meters: tuple[int, ...] = (METER,), **options: Any) -> Store:
    """Books in kWh, the decoder key of each meter known."""
    store = open_books(url, meters, currency=CURRENCY_ENERGY, **options)
    for number in meters:
        store.write(decoder.put, number, Decoder(decoder.pan_of(number), GROUP)).result()
    return store


class TokenPair(Pair):
    """`vend`, `type` and `taken_back` do what people do; `books` what the signer's log remembers."""

    def __init__(self, carrier: str = "mqtt", watts: int = 0, url: str = "") -> None:
        self.noise = Noise()
        self.carrier = carrier
        self.keys = vending_keys()
        self.clock = ManualClock(NOW_S)
        self.store = energy_books(url)
        self.log = SignerLog(None)
        self.signer = Signer(self.keys, self.log, self.clock, CAPS)
        self.engine = Engine(self.store, self.keys, self.clock, self.noise, signer=self.signer)
        board = VirtualBoard(Constant(watts), start_s=NOW_S, seed=METER)
        self.unit = InProcessMeter(board, self.token_record())
        self.exchange = Exchange(self.unit.meter, 90_000)
        self.on_the_way = lambda action: action
        self.heard = lambda what: True
        if carrier == "mqtt":
            self.up(topics.UP_STATE, self.exchange.birth())
        else:
            where = {"carrier": carrier, "address": "tcp://127.0.0.1:1?unit=1"}
            self.store.write(lambda conn: conn.execute(update(meter_table).values(**where))).result()

    def token_record(self) -> bytes:
        """The meter's provisioning record: an account in kWh, a decoder key."""
        return self.record(currency=CURRENCY_ENERGY, tariff=Tariff((KWH_UC,)).encode(), decoder=HELD)

    # --- what people do -----------------------------------------------------------------------------------------------

    def reserve(self, payment_id: str, amount_uc: int, **options: Any) -> Row[Any]:
        """The first half of a sale."""
        sold: tuple[Row[Any], bool] = self.write(vending.vend, CHANNEL, payment_id, METER, amount_uc, **options)
        return sold[0]

    def make(self, token_id: int) -> Row[Any]:
        """The second half."""
        return making.make(self.store, self.signer, self.clock.now_s(), token_id)

    def vend(self, payment_id: str, amount_uc: int, **options: Any) -> Row[Any]:
        return self.make(self.reserve(payment_id, amount_uc, **options).id)

    def type(self, digits: str) -> int:
        """The customer types 20 digits; the result's code (meterlink.sts.results)."""
        outcome = self.unit.meter.typed.enter(digits)
        self.unit.settle()
        return int(outcome.code)

    def void(self, token_id: int) -> str:
        return str(self.write(replacing.void, token_id, "operator:ann").state)

    def replace(self, token_id: int) -> str:
        return str(self.write(replacing.replace, token_id, "operator:ann").state)

    # --- the database -------------------------------------------------------------------------------------------------

    def token(self, token_id: int) -> Row[Any]:
        return self.store.read(book.get, token_id)

    def token_state(self, token_id: int) -> str:
        return str(self.token(token_id).state)

    def tokens(self) -> list[Row[Any]]:
        return self.store.read(lambda conn: list(conn.execute(select(token).order_by(token.c.id))))

    def meter_row(self) -> Row[Any]:
        mine = meter_state.c.meter == METER
        row: Row[Any] = self.store.read(lambda conn: conn.execute(select(meter_state).where(mine)).one())
        return row

    def explained(self) -> reconcile.Explanation:
        return self.store.read(reconcile.explain, METER)

    def settled(self) -> bool:
        """Whether nothing of tokens is under way any more."""
        waiting = (book.REPLACING, book.VOIDING)
        row = self.meter_row()
        return all(one.state not in waiting for one in self.tokens()) and row.on_meter_uc == row.sold_uc
