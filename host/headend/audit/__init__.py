"""Who did what, in a record that cannot be changed: `record` writes a row in the transaction of the act itself.

Actors and subjects are names of this system (`user:…`, `channel:…`, `meter:…`, `person:<pseudonym>`), never personal
data; the sealer chains the rows (`headend.books`).
"""

from headend.audit.record import ACTIONS, record

__all__ = ["ACTIONS", "record"]
