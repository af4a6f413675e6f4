"""Between a wish and a relay that opens: what counts as opening, budgets, approvals, freezes, the check at sending."""
