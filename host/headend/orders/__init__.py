"""Orders: what is wanted of a meter, how it gets there, and what proves that it did.

`statements`, `credit`, `terms`, `trust` and `account` say what is wanted, `writing` makes an order of it, `signing` has
it signed, `outbox` decides what to send or ask next, `inbound` takes what meters say, `confirm` judges an order by a
report, `lifecycle` holds the states and is their only writer.
Synchronous; every function takes its connection and its time. May import meterlink, store, ledger and reads.
"""
