"""The same money on either database: a transfer, a refusal, an import, a bill on the meter, with reports as a meter
would sign them."""

from typing import Any

from sqlalchemy import Connection, insert, select

from headend.gate import pace, proposals
from headend.keys.keystore import KeyStore
from headend.ledger import accounts, balances, bills, debts_on_meter, payments, reconcile, refunds
from headend.ledger.openings import checking, files, notice, running
from headend.ledger.refunds import asking, life, listing, policy
from headend.orders import inbound
from headend.orders.policy import Policy
from headend.registry import bars
from headend.store import Store
from headend.store.schema import meter_event, meter_state, order
from headend.store.schema_refunds import refund
from meterlink import bodies, events, reasons
from meterlink.orders import ASPECT_CREDIT
from meterlink.reports import KIND_RECEIPT
from meterlink.results import REFUND_EXCEEDS
from tests.host.books import CHANNEL, METER, NOW_S, open_books, report
from tests.host.refund_rig import CASHIER, MANAGER, ask
from tests.host.test_openings import GOOD

NEXT = 18
YUAN = 1_000_000
KEYS = KeyStore.generate()
OWN = accounts.of_channel(CHANNEL)


class Books:
    def __init__(self, url: str) -> None:
        self.store: Store = open_books(url, (METER, NEXT), inline=True)
        self.counter = 0

    def write(self, fn: Any, *given: Any, **options: Any) -> Any:
        return self.store.write(lambda conn: fn(conn, NOW_S, *given, **options)).result()

    def balance(self, account: str) -> int:
        return self.store.read(balances.balance_uc, account)

    def page(self, held_in: list[str], *, limit: int = 5, **chosen: Any) -> list[int]:
        rows = self.store.read(lambda conn: listing.page(conn, held_in, before=10**9, limit=limit, **chosen))
        return [row.id for row in rows]

    def approve(self, proposal: int) -> None:
        row = self.store.read(proposals.get, proposal)
        self.write(proposals.approve, row.id, row.digest, MANAGER)
        while self.write(pace.tick):
            pass

    def tell(self, number: int = METER, **fields: Any) -> None:
        """The meter shows its totals; `refunded`: what it has taken back."""
        self.counter += 1
        state: Any = self.store.read(
            lambda conn: conn.execute(select(meter_state).where(meter_state.c.meter == number)).one()
        )
        refunded_uc = fields.pop("refunded", state.refunded_uc)
        sums = {"credited_uc": state.sold_uc, "source_credited_uc": state.sold_uc}
        sums |= {"refunded_uc": refunded_uc, "source_refunded_uc": refunded_uc}
        told = report(KEYS, number, counter=self.counter, **{**sums, **fields})
        self.write(inbound.take, told, "mqtt", Policy(), bytes)


def send_all(conn: Connection, _now_s: int) -> bytes:
    """The newest credit order is on its way; its digest."""
    newest = (
        select(order.c.id).where(order.c.aspect == ASPECT_CREDIT, order.c.meter == METER).order_by(order.c.id.desc())
    )
    one = conn.execute(newest.limit(1)).scalar_one()
    conn.execute(order.update().where(order.c.id == one).values(state="sent", sent_s=NOW_S, digest=b"d" * 8))
    return b"d" * 8


def test_money_goes_back_on_either_database(any_store_url: str) -> None:
    books = Books(any_store_url)
    with books.store:
        books.write(payments.take, CHANNEL, "a", METER, 50 * YUAN)
        books.tell()
        moved = books.write(asking.transfer, ask("t"), CHANNEL, "a", NEXT).row
        books.approve(life_of(books, moved.id).proposal)
        assert books.store.read(refunds.under_way_uc, METER, 1) == 50 * YUAN
        books.tell()
        assert life_of(books, moved.id).state == life.TAKEN
        assert [books.balance(accounts.of_meter(one, 1)) for one in (METER, NEXT)] == [0, 50 * YUAN]
        books.write(payments.take, CHANNEL, "b", METER, 30 * YUAN)
        books.tell()
        before_uc = 50 * YUAN
        back = books.write(asking.reverse, ask("v", OWN), CHANNEL, "b").row
        digest = books.write(send_all)
        books.tell(refunded=before_uc, kind=KIND_RECEIPT, result=REFUND_EXCEEDS, digest=digest, balance_uc=0)
        assert life_of(books, back.id).state == life.OWED
        books.tell()
        assert books.store.read(reconcile.explain, METER).difference_uc == 0
        assert (books.balance(OWN), books.balance(accounts.REFUNDS)) == (-50 * YUAN, 0)
        assert books.balance(accounts.of_debt(METER, 1)) == -30 * YUAN
        found = books.page([""], limit=1), books.page(["north"]), books.page([""], payment=(CHANNEL, "a"), number=METER)
        assert found == ([back.id], [], [moved.id])
        rule = policy.Policy(window_s=1, spent=policy.CHANNEL)
        books.write(policy.put, CASHIER, rule)
        assert books.store.read(policy.standing) == rule and len(books.store.read(policy.history)) == 1


def life_of(books: Books, refund_id: int) -> Any:
    return books.store.read(lambda conn: conn.execute(select(refund).where(refund.c.id == refund_id)).one())


def test_openings_and_debts_on_either_database(any_store_url: str) -> None:
    books = Books(any_store_url)
    with books.store:
        read = files.read(GOOD, files.CSV)
        digest = books.store.read(checking.check, "north", read).digest()
        books.approve(books.write(running.propose, "north", read, digest, CASHIER).proposal)
        assert books.store.read(running.get, "north").state == "done"
        rules = {bar.rule for bar in books.store.read(bars, NOW_S, METER, reasons.HOLD_ARREARS)}
        assert rules == {"opening.not_shown", "opening.notice"}
        books.tell()
        assert not books.store.read(notice.is_on_its_way, METER)
        (bill,) = books.store.read(bills.open_of, NEXT, 1)
        how = debts_on_meter.Terms(bodies.DEBT_SHARED, share=5000)
        books.write(debts_on_meter.place, NEXT, 1, [bill.id], how, CASHIER)
        event = {"meter": NEXT, "log_id": 7, "seq": 3, "time_s": NOW_S, "code": events.DEBT_COLLECTED, "boot": 1}
        event |= {"import_reg_wh": 0, "argument": 5000, "detail": 1}
        books.write(lambda conn, _now_s: conn.execute(insert(meter_event), event))
        for _ in range(2):
            books.write(debts_on_meter.told, NEXT, 7, 0)
        assert books.store.read(debts_on_meter.owed_uc, NEXT, 1) == 7 * YUAN
        assert books.balance(accounts.of_debt(NEXT, 1)) == -7 * YUAN
        books.write(debts_on_meter.withdraw, NEXT, 1, CASHIER)
        assert books.store.read(debts_on_meter.owed_uc, NEXT, 1) == 0
        assert sum(row.balance_uc for row in books.store.read(balances.trial_balance)) == 0
