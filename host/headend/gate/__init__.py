"""Between a wish and a relay that opens: what counts as opening, budgets, approvals, freezes, the check at sending.

`opens` is the table of what may open · `admit` says whether one person may state it alone · `recheck` asks everything
again where an order becomes `sent`, in the same transaction, and counts it · `proposals` are what a second person
approves, `pace` lets approved lists through as budgets allow, `recall` gives back what a list took · `freeze` holds all
of it. `orders.writing` and `orders.outbox` call the first three; nothing reaches a carrier past them.
"""

from headend.gate.admission import admit, kind_of
from headend.gate.checks import No, Turn, recheck
from headend.gate.opening import opens

__all__ = ["No", "Turn", "admit", "kind_of", "opens", "recheck"]
