"""Money that goes back: refunds of credit, reversals of payments, transfers to another meter.

`life.py` is the table of states, `asking.py` takes requests, `deciding.py` what people decide, `stating.py` takes money
off a meter, `following.py` what meters prove, `spent.py` what a payment had paid or the customer has spent,
`transferring.py` pays the other meter, `policy.py` says who may do what alone, `listing.py` finds them.
"""

from headend.ledger.refunds.following import account_closed, refused, shown, source_closed, token_settled
from headend.ledger.refunds.stating import carried_uc, taken_by_uc, under_way_uc

__all__ = [
    "account_closed",
    "carried_uc",
    "refused",
    "shown",
    "source_closed",
    "taken_by_uc",
    "token_settled",
    "under_way_uc",
]
