"""The books: double entry in micro-currency, nothing is changed or deleted, corrections are entries.

`accounts.py` names the accounts, `entries.py` posts, `balances.py` sums, `channels.py` says who may bring money,
`payments.py` takes it, `bills.py` holds what is owed and `allocation.py` says which bill a payment pays, with its
`late_fee.py`; `consumption.py` follows what the meter charged, `reconcile.py` explains ledger against meter.

An account's balance is credits minus debits: what we owe its holder. A customer's is the credit left by the books, a
channel's (negative) what it has taken and not yet handed over, a debt's (negative) what is owed on bills.
"""

from headend.ledger import words  # noqa: F401 - it names the audited acts of all of them
