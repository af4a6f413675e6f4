"""Typed tokens sold a second: payment and number in one commit, the line in the signer's log on disk, the
digits stored by a second commit; then they could be printed.

One by one, and a batch of 100 as `POST /tokens/batch` takes it. The peer is the same number of payments that go over
the wire instead, taken in the same way, in the same database.
"""

from collections.abc import Iterator
from itertools import count
from statistics import median

from headend.clock import ManualClock
from headend.keys.holder import VendingName
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import payments
from headend.store import MONEY
from headend.tokens import decoder, making, vending
from headend.tokens.decoder import Decoder
from meterlink.bodies import MAX_UC
from meterlink.provision import CURRENCY_ENERGY
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.scene import CHANNEL, NOW_S, Scene, open_scene

METERS = 64
BATCH = 100

_GROUP = 123_457
_WORTH_UC = 20_000_000


def run(seconds: float) -> Iterator[Figure]:
    """One by one, then in batches."""
    with open_scene(METERS, CURRENCY_ENERGY) as scene:
        till = Till(scene)
        yield till.measure("tokens_vended_single", 1, 8, seconds / 2)
        yield till.measure("tokens_vended_batch", BATCH, BATCH, seconds / 2)
        till.close()


class Till:
    """Sells tokens for the meters of a scene in turn, and beside it takes payments for them."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._numbers = count(1)
        scene.keys.add_vending_key(VendingName(_GROUP, 1))
        for meter in scene.meters:
            scene.store.write(decoder.put, meter, Decoder(decoder.pan_of(meter), _GROUP)).result()
        self._log = SignerLog(scene.folder / "signed")
        caps = Caps(MAX_UC, token_day_wh=MAX_UC, token_month_wh=MAX_UC)
        self._signer = Signer(scene.keys, self._log, ManualClock(NOW_S), caps)

    def close(self) -> None:
        """Let go of the signer's log."""
        self._log.close()

    def measure(self, name: str, together: int, number: int, seconds: float) -> Figure:
        """Tokens a second, `together` of them sold and made at a time; `number` in a round."""

        def ours() -> None:
            for _ in range(0, number, together):
                self._sell(together)

        def theirs() -> None:
            for _ in range(0, number, together):
                self._pay(together)

        ours_s, theirs_s = race([timed(ours), timed(theirs)], seconds, rounds=2, pick=median)
        peer = f"payments over the wire, {together} under way at a time alike"
        return against(name, number / ours_s, "tokens/s", peer, number / theirs_s)

    def _sell(self, together: int) -> None:
        store = self._scene.store
        sales = [store.write(vending.vend, *self._sale(), lane=MONEY) for _ in range(together)]
        made = making.make_many(store, self._signer, NOW_S, [sale.result()[0].id for sale in sales])
        assert all(row.digits for row in made)

    def _pay(self, together: int) -> None:
        taken = [self._scene.store.write(payments.take, *self._sale(), lane=MONEY) for _ in range(together)]
        for one in taken:
            one.result()

    def _sale(self) -> tuple[int, str, str, int, int]:
        place = next(self._numbers)
        return NOW_S, CHANNEL, f"receipt-{place}", self._scene.meters[place % METERS], _WORTH_UC
