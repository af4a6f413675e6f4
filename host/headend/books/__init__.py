"""Whether the books are what they were: chains of seals, signed heads, day reports, and how they stand with the meters.

`chain` says which bytes are hashed, `sealer` chains committed rows, `heads` closes a day with a signed head, `day`
tells what that day came to, `sweep` holds the books against meters, `verifier` is a program of its own that needs
nothing of all this. Imports ledger, reads and store, never `headend.web`.
"""
