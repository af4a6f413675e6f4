"""Accounts and databases that begin, end and are mended: account epochs of meters, signing epochs of the head end.

`adopt` takes over the key store's new signing epoch after a restore, `readback` asks each meter what the former credit
source had stated, books it and closes that source; `life` opens and retires accounts and exchanges meters, `closing`
books what an account stood at; `recover` gives a meter back the history it lost; `presigned` holds orders that the root
key signed in advance; `findings` lists what a person has to look at; `follow` is what the engine calls after a report.
Synchronous; every function takes its connection and its time. May import meterlink, store, ledger and orders.
"""
