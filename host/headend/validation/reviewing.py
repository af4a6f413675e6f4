"""What people do about verdicts: decide what is held, and have days judged again. Each leaves its row in the audit."""

from typing import Any

from sqlalchemy import Connection, Row

from headend import audit
from headend.ledger import zone
from headend.refusals import Refused
from headend.validation import cases, judging, verdicts, words
from headend.validation.judging import MOST_DAYS


def decide(conn: Connection, now_s: int, case: int, state: str, actor: str, reason: str) -> Row[Any]:
    """Accept or reject what is held; where it is rejected, estimates stand in from now on. Returns the case.

    Raises UnknownCase, Refused.
    """
    row = cases.get(conn, case)
    verdicts.lock(conn, row.meter)
    cases.decide(conn, now_s, case, state, actor, reason)
    if state == words.REJECTED:
        verdicts.keep(conn, now_s, judging.judge(conn, now_s, row.meter, row.day, row.day))
    return cases.get(conn, case)


def judge_again(conn: Connection, now_s: int, meter: int, first: int, last: int, actor: str) -> int:
    """Judge days of a meter by the policy in force; how many verdicts changed. Raises UnknownMeter, Refused."""
    today = zone.day_of(zone.of(conn), now_s)
    if not 0 <= first <= last <= today or last - first >= MOST_DAYS:
        expected = f"days up to {zone.day_text(today)}, rising, at most {MOST_DAYS}"
        raise Refused("last_day", f"{first}..{last}", expected)
    verdicts.lock(conn, meter)
    outcome = judging.judge(conn, now_s, meter, first, last)
    verdicts.keep(conn, now_s, outcome)
    detail = {"first": first, "last": last, "changed": len(outcome.verdicts)}
    audit.record(conn, now_s, actor, words.JUDGED_AGAIN, f"meter:{meter}", detail)
    return len(outcome.verdicts)
