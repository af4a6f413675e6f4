"""What a payment paid of bills, when it is taken back; and who bears one that was spent before."""

from typing import Any

from sqlalchemy import Connection, Row

from headend.ledger import accounts, allocation, bills, entries, tax
from headend.ledger.refunds import life, policy, words
from headend.ledger.refunds.parts import paid_to_bills


def take_back(conn: Connection, now_s: int, row: Row[Any], actor: str) -> int:
    """Undo what the payment paid of bills, which are open again, and of taxes; to the channel that took it. How much
    it was."""
    if row.payment_id is None:
        return 0
    account = accounts.of_meter(row.meter, row.account_epoch)
    total_uc = 0
    for paid in paid_to_bills(conn, row.channel, row.payment_id):
        total_uc += allocation.undo(conn, now_s, paid, account, actor, f"refund {row.id}")
    total_uc += tax.undo(conn, now_s, account, row.channel, row.payment_id, row.meter)
    if total_uc:
        cause, channel = f"refund:{row.id}", accounts.of_channel(row.channel)
        entries.post(conn, now_s, entries.REVERSAL, account, channel, total_uc, meter=row.meter, cause=cause)
    return total_uc


def bear(conn: Connection, now_s: int, row: Row[Any], actor: str) -> None:
    """A reversal was refused, as the customer has spent the money: it is billed to the customer where the policy says
    so, and otherwise the channel's affair."""
    if row.kind != words.REVERSAL or policy.standing(conn).spent != policy.DEBT:
        return
    take_back(conn, now_s, row, actor)
    bill = bills.issue(
        conn,
        now_s,
        row.meter,
        f"reversal:{row.id}",
        [bills.Line("reversal", row.amount_uc, f"{row.channel}/{row.payment_id}"[:60])],
        notice_s=now_s,
        due_s=now_s,
        actor=actor,
        kind="reversal",
        account_epoch=row.account_epoch,
        against=accounts.of_channel(row.channel),
        entry_kind=entries.REVERSAL_OWED,
    )
    life.move(conn, now_s, row, "bill", actor, f"bill {bill}")
