"""A head end with several meters on a bus for tests of the gate: people, budgets, a dispatcher, no answers."""

from typing import Any

from sqlalchemy import select, update

from headend.clock import ManualClock
from headend.engine import Deliver, Engine
from headend.gate import pace, policy, proposals
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.orders import statements
from headend.store import Store
from headend.store.schema import meter, meter_state, order
from headend.store.schema_gate import gate_pass, proposal, proposal_item
from meterlink import reasons
from tests.host.books import NOW_S, open_books
from tests.host.peer import Noise
from tests.host.rows import Rows

ANN, BOB, EVE = "user:ann", "user:bob", "user:eve"
ARREARS = reasons.HOLD_ARREARS
FIRST = 101  # the first meter's number


class Office(Rows):
    """`meters` meters, numbered from `FIRST`; `areas`: of one after the other, in turn. `rules`: None: by default."""

    def __init__(
        self,
        url: str = "sqlite://",
        *,
        meters: int = 6,
        areas: tuple[str, ...] = ("north/f-1",),
        rules: dict[str, Any] | None = None,
    ) -> None:
        self.clock = ManualClock(NOW_S)
        self.meters = tuple(range(FIRST, FIRST + meters))
        self.store: Store = open_books(url, self.meters, budget=None, inline=True)
        if rules is not None:
            self.write(policy.put, "system", rules, "a test")
        self.store.write(self._place, areas).result()
        self.noise = Noise()
        self.keys = KeyStore.generate(self.noise)
        self.signer = Signer(self.keys, SignerLog(None), self.clock, Caps(10**12))
        self.engine = self.another()

    def _place(self, conn: Any, areas: tuple[str, ...]) -> None:
        for at, number in enumerate(self.meters):
            here = {"carrier": "modbus", "area": areas[at % len(areas)]}
            conn.execute(update(meter).where(meter.c.meter == number).values(here))
        self.hear(conn, *self.meters)

    def hear(self, conn: Any, *numbers: int) -> None:
        """A report of these meters was taken now: what is known of them is fresh."""
        here = {"report_taken_s": self.clock.now_s()}
        conn.execute(update(meter_state).where(meter_state.c.meter.in_(numbers)).values(here))

    def another(self) -> Engine:
        return Engine(self.store, self.keys, self.clock, self.noise, signer=self.signer)

    def close(self) -> None:
        self.store.close()

    # --- what people do -----------------------------------------------------------------------------------------------

    def stop(self, number: int = FIRST, reason: int = ARREARS, actor: str = ANN, **options: Any) -> int:
        return int(self.write(statements.stop, number, reason, actor, **options))

    def release(self, number: int = FIRST, reason: int = ARREARS, actor: str = ANN) -> int:
        return int(self.write(statements.release, number, reason, actor))

    def propose(self, meters: Any = None, *, kind: str = "stop", actor: str = ANN, **payload: Any) -> int:
        listed = list(self.meters if meters is None else meters)
        what = {"meters": listed, **({"reason": ARREARS} if kind == "stop" else {}), **payload}
        return int(self.write(proposals.propose, kind, what, actor, "bills of May"))

    def approve(self, proposal_id: int, actor: str = BOB, digest: str | None = None) -> None:
        self.write(proposals.approve, proposal_id, digest or self.proposal(proposal_id).digest, actor)

    # --- what the head end does ---------------------------------------------------------------------------------------

    def due(self, engine: Engine | None = None) -> list[Deliver]:
        """What is delivered now; the carriers take it, and no meter answers."""
        engine = engine or self.engine
        actions = engine.due(self.clock.now_s())
        for action in actions:
            engine.sent(action, True)
        return [action for action in actions if isinstance(action, Deliver)]

    def pass_time(self, seconds: int, step_s: int = 60) -> list[Deliver]:
        """Let time pass; what was delivered meanwhile."""
        found = []
        for _ in range(0, seconds, step_s):
            self.clock.advance(step_s)
            found += self.due()
        return found

    def settle(self) -> None:
        """Proposals go on as far as they can now."""
        while self.store.write(pace.tick, self.clock.now_s()).result():
            pass

    # --- the database -------------------------------------------------------------------------------------------------

    def proposal(self, proposal_id: int) -> Any:
        return self.store.read(lambda conn: conn.execute(select(proposal).where(proposal.c.id == proposal_id)).one())

    def items(self, proposal_id: int) -> dict[int, Any]:
        mine = select(proposal_item).where(proposal_item.c.proposal == proposal_id)
        return {row.meter: row for row in self.store.read(lambda conn: conn.execute(mine).all())}

    def passes(self) -> list[Any]:
        query = select(gate_pass).order_by(gate_pass.c.order_id)
        return self.store.read(lambda conn: list(conn.execute(query).all()))

    def orders(self) -> list[Any]:
        return self.store.read(lambda conn: list(conn.execute(select(order).order_by(order.c.id)).all()))


def rules(limit: int | None = None, **others: Any) -> dict[str, Any]:
    """Rules with one limit for everything, or the default ones, and `others`."""
    return {**(policy.flat(limit) if limit is not None else {}), **others}


def limits(**by_scope: int) -> dict[str, Any]:
    """Rules in which one person may do so many in an hour in these scopes; the rest is wide open."""
    wide = policy.flat(10_000)["limits"]
    for scope, number in by_scope.items():
        wide[policy.ALONE][scope] = {"hour": [number, number, 0], "day": [10_000, 10_000, 0]}
    return {"limits": wide}
