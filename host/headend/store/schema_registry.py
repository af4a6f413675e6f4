"""Whom nobody may stop, and when: exclusions with their evidence and history (`headend.registry`)."""
