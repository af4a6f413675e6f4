"""What wants a person at channels: floats that run low, days whose lists differ. For those who see everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from headend import language as texts
from headend.access.areas import EVERYWHERE
from headend.ledger import floats, settlements, zone
from headend.ledger import words as ledger_words
from headend.web import wire
from headend.web.words import CHANNEL_CONCERNS

MANY = 100  # differences; all of them: `GET /differences`


@dataclass(frozen=True)
class AtChannel:
    """What is wrong with a channel, in the reader's language."""

    channel: str
    title: str
    sentence: str


def standing(conn: Connection, language: str, areas: Sequence[str]) -> list[AtChannel]:
    """Low floats, longest first; then differences, oldest first. Nothing for those who do not see everywhere."""
    if EVERYWHERE not in areas:
        return []
    found = []
    for row in floats.low(conn):
        since = wire.utc(row.low_since_s)[:16].replace("T", " ") + " UTC"
        held = {"left": wire.amount(row.held_uc + row.overdraft_uc), "low": wire.amount(row.low_uc), "time": since}
        found.append(_said("low_float", row.channel, language, held))
    for row in settlements.standing(conn, MANY):
        action = texts.say(ledger_words.DIFFERENCES[row.kind], language)
        told = {"day": zone.day_text(row.day), "payment": row.payment_id, "action": action}
        found.append(_said("settlement", row.channel, language, told))
    return found


def _said(kind: str, channel: str, language: str, told: dict[str, str]) -> AtChannel:
    title, sentence = CHANNEL_CONCERNS[kind]
    return AtChannel(channel, texts.say(title, language), texts.say(sentence, language, **told))
