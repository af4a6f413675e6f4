"""Bills, allocations, taxes, receipts, refunds: what surrounds payments (`headend.ledger`)."""
