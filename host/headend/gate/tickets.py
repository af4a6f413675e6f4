"""Operation tickets (停电操作票) of lists of stops: what is to be done, who answers for it, what it is bound to."""

import json
from typing import Any

from sqlalchemy import Row

from headend.gate import words
from headend.language import LANGUAGES, counted_meters, name, utc
from headend.orders.statements import MAX_STOP_S
from meterlink import names
from meterlink.labels import LABEL


def ticket(row: Row[Any], language: str) -> str:
    """The ticket of a `proposal` row of kind stop, line by line."""
    payload = json.loads(row.payload)
    nobody = words.NOBODY[LANGUAGES.index(language)]
    told = {
        "proposal": row.id,
        "meters": counted_meters(len(payload["meters"]))[LANGUAGES.index(language)],
        "reason": name(LABEL["hold"], names.of(names.HOLD, payload["reason"]), language),
        "why": row.why,
        "author": row.author,
        "proposed": utc(row.proposed_s),
        "expires": utc(row.expires_s),
        "approver": row.approver or nobody,
        "decided": utc(row.decided_s) if row.decided_s else nobody,
        "policy": row.policy_version,
        "digest": row.digest,
        "valid_s": payload.get("valid_s", MAX_STOP_S),
    }
    return "\n".join(line[LANGUAGES.index(language)].format(**told) for line in words.TICKET)
