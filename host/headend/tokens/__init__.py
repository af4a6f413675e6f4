"""Typed tokens: payments that a customer carries to the meter as 20 digits, and other tokens that help there.

`decoder` knows whose key a meter holds, `amounts` what a token can be worth, `book` reserves TIDs and keeps all tokens,
`vending` sells one, `making` has the signer make the digits, `replacing` takes an unused one back over the wire,
`usage` learns from the meter what was typed, `comparing` finds in the signer's log what a restored database has `lost`,
`helping` and `key_change` make those that carry no credit. Functions take their connection and their time; `making`,
`comparing` and `key_change` alone talk to the signer, outside of any transaction. May import meterlink, store, ledger,
orders and the signer's messages.
"""
