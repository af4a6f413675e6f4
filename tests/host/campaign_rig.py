"""A head end with meters that answer, each as it is told to, for tests of campaigns: `office.behaves[number]`."""

from typing import Any

from sqlalchemy import select, update

from headend.campaigns import acts, making
from headend.campaigns.lifecycle import PREPARING
from headend.engine import Deliver
from headend.gate import policy
from headend.orders.actions import Ack, Action
from headend.store.schema import meter
from headend.store.schema_campaign import campaign, campaign_history, campaign_meter
from meterlink import bodies, results, topics
from meterlink.orders import ASPECT_SUPPLY, Order
from tests.host.gate_rig import ANN, ARREARS, BOB, Office
from tests.host.peer import CLOSED, OPEN, Peer

OBEYS, REFUSES, SILENT = "obeys", "refuses", "silent"
WHOLE = {"groups": ["rest"], "per_minute": 60_000}


class Field(Office):
    """`delivered`: (second, order) of all that reached a carrier."""

    def __init__(self, url: str = "sqlite://", **others: Any) -> None:
        super().__init__(url, **{"rules": policy.flat(100_000), **others})
        self.peers = {number: Peer(self.keys, self.clock, number) for number in self.meters}
        self.behaves: dict[int, str] = {}
        self.delivered: list[tuple[int, int]] = []
        for peer in self.peers.values():  # what is known of them is fresh
            self.engine.up(peer.number, topics.UP_REPORT, peer.report(), "modbus")

    # --- meters -------------------------------------------------------------------------------------------------------

    def second(self) -> None:
        """What is due now goes out, and what meters say comes in."""
        for _ in range(40):
            waiting = self.engine.due(self.clock.now_s())
            if not waiting:
                return
            while waiting:
                waiting += self.carry(waiting.pop(0))

    def run(self, seconds: int, step_s: int = 1) -> None:
        for _ in range(0, seconds, step_s):
            self.second()
            self.clock.advance(step_s)
        self.second()

    def carry(self, action: Action) -> list[Action]:
        self.engine.sent(action, True)
        peer, behaves = self.peers[action.meter], self.behaves.get(action.meter, OBEYS)
        if isinstance(action, Deliver):
            self.delivered.append((self.clock.now_s(), action.order_id))
        if behaves == SILENT or isinstance(action, Ack):
            return []
        if not isinstance(action, Deliver):
            return self.engine.up(action.meter, *peer.answer(action), "modbus")
        if behaves == REFUSES:
            raw = peer.receipt(action.raw, results.BAD_BODY)
        else:
            self.obey(peer, action.raw)
            raw = peer.receipt(action.raw)
        return self.engine.up(action.meter, topics.UP_RECEIPT, raw, "modbus")

    @staticmethod
    def obey(peer: Peer, raw: bytes) -> None:
        stated: Order = peer.hold(raw)
        if stated.stated.aspect != ASPECT_SUPPLY:
            return
        holds = bodies.decode_supply(stated.stated.body)[0] == bodies.HOLD
        peer.be(**(OPEN if holds else CLOSED), holds=holds << stated.stated.selector)

    def move(self, number: int, area: str) -> None:
        self.write(lambda conn, _: conn.execute(update(meter).where(meter.c.meter == number).values(area=area)))

    # --- campaigns ----------------------------------------------------------------------------------------------------

    def dry_run(self, kind: str = "stop", **others: Any) -> int:
        """A campaign of all meters whose dry run is whole."""
        given = {"terms": {"reason": ARREARS} if kind in ("stop", "connect") else {}, "chosen": {"area": ""}}
        given |= {"plan": WHOLE, "actor": ANN, **others}
        what = (given["terms"], given["chosen"], given["plan"], given["actor"], "bills of May")
        made = int(self.write(making.make, kind, *what))
        while self.campaign(made).state == PREPARING:
            assert making.follow(self.store, self.clock.now_s())
        return made

    def begin(self, kind: str = "stop", **others: Any) -> int:
        """The same, proposed and approved."""
        made = self.dry_run(kind, **others)
        proposal = int(self.write(acts.propose, made, ANN))
        for _ in range(400):  # a long list is noted in parts
            if self.proposal(proposal).state != "preparing":
                break
            self.settle()
        self.approve(proposal, BOB)
        return made

    def campaign(self, campaign_id: int) -> Any:
        return self.store.read(lambda conn: conn.execute(select(campaign).where(campaign.c.id == campaign_id)).one())

    def looked_at(self, campaign_id: int) -> dict[int, Any]:
        mine = select(campaign_meter).where(campaign_meter.c.campaign == campaign_id)
        return {row.meter: row for row in self.store.read(lambda conn: conn.execute(mine).all())}

    def history(self, campaign_id: int) -> list[str]:
        mine = select(campaign_history.c.event).where(campaign_history.c.campaign == campaign_id)
        return self.store.read(lambda conn: list(conn.execute(mine.order_by(campaign_history.c.id)).scalars()))

    def sent(self, campaign_id: int) -> set[int]:
        """Meters to which an order of it was handed to a carrier."""
        of = self.campaign(campaign_id).proposal
        return {row.meter for row in self.orders() if row.proposal == of and row.sent_s is not None}
