"""The books: double entry in micro-currency, nothing is changed or deleted, corrections are entries.

`accounts.py` names the accounts, `entries.py` posts, `balances.py` sums, `channels.py` says who may bring money,
`payments.py` takes it, `consumption.py` follows what the meter charged, `reconcile.py` explains ledger against meter.

An account's balance is credits minus debits: what we owe its holder. A customer's is the credit left by the books, a
channel's (negative) what it has taken and not yet handed over.
"""
