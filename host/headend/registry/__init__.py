"""Whom nobody may stop, and when: exclusions and the calendar as data, with evidence and history."""
