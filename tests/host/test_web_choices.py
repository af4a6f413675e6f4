"""What the API document lists as choices is what the core knows: no answer says what the document does not have."""

from collections.abc import Collection
from typing import Any, get_args

import msgspec
import pytest

from headend.campaigns import lifecycle as campaign_life
from headend.campaigns import words as campaign_words
from headend.configuration import words as configuration_words
from headend.fleet import columns
from headend.fleet import grid as fleet_grid
from headend.gate import words as gate_words
from headend.ledger import words as money_words
from headend.ledger.openings import words as openings_words
from headend.ledger.refunds import life as refund_life
from headend.ledger.refunds import words as refund_words
from headend.registry import kinds
from headend.validation import words as validation_words
from headend.web import (
    bills,
    campaign_views,
    configuration,
    exclusions,
    fleet_files,
    grid,
    openings,
    orders,
    proposals,
    receipts,
    refunds,
    settlements,
    validation,
)
from meterlink import names, reasons

STOPS = [name for code, name in names.HOLD.items() if code != reasons.HOLD_PROTECTION]


def of(kind: type[msgspec.Struct], field: str) -> Any:
    """The choices of a field, without what is said of it, and without null."""
    shape = next(one.type for one in msgspec.inspect.type_info(kind).fields if one.name == field)  # type: ignore[attr-defined]
    while not isinstance(shape, msgspec.inspect.LiteralType):
        shape = shape.type if isinstance(shape, msgspec.inspect.Metadata) else shape.types[0]
    return shape.values


CHOICES: dict[str, tuple[Collection[str], Collection[str]]] = {
    "states of campaigns": (get_args(campaign_views.State), campaign_life.STATES),
    "verdicts of a dry run": (get_args(campaign_views.Verdict), campaign_words.VERDICTS),
    "states of refunds": (get_args(refunds.State), refund_life.STATES),
    "kinds of refunds": (of(refunds.RefundBrief, "kind"), refund_words.KINDS),
    "states of proposals": (get_args(proposals.State), gate_words.PROPOSAL_STATES),
    "states of a list's meters": (get_args(proposals.ItemState), gate_words.ITEM_STATES),
    "states of cases": (get_args(validation.StateName), validation_words.CASE_STATES),
    "states of bills": (of(bills.Bill, "state"), money_words.BILL_STATES),
    "states of imports": (of(openings.ImportState, "state"), openings_words.STATES),
    "lines of receipts": (of(receipts.ReceiptLine, "kind"), money_words.RECEIPT_LINES),
    "kinds of channels": (of(settlements.Limits, "kind"), money_words.CHANNEL_KINDS),
    "kinds of exclusions": (get_args(exclusions.KindName), kinds.KINDS),
    "kinds of grid nodes": (get_args(grid.Kind), fleet_grid.KINDS),
    "files of the fleet": (get_args(fleet_files.FileKind), columns.FILES),
    "aspects that are audited": (get_args(configuration.Aspect), configuration_words.ASPECTS),
    "reasons for a stop": (get_args(orders.Reason), STOPS),
}


@pytest.mark.parametrize("what", CHOICES)
def test_the_document_lists_what_the_core_knows(what: str) -> None:
    listed, known = CHOICES[what]
    assert sorted(listed) == sorted(known)
