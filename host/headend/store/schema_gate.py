"""What stands between a wish and a relay that opens: proposals, approvals, budgets, freezes (`headend.gate`)."""
