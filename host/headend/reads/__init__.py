"""Reads: what meters recorded, stored once each, and what is still missing.

`logs` keeps the cursor of each record log, `batches` stores what arrives, `gaps` finds what to ask for, `completeness`
counts. A record is decoded here for the first time since the meter packed it. May import meterlink and store.
"""
