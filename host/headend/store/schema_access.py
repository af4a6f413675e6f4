"""Who may do what: people, their sessions and grants, idempotency of their requests (`headend.access`)."""
