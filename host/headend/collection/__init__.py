"""When meters are asked for what they hold: schedules, lanes, backfill, and the counts of what was read by when.

Domain functions on a connection; the links carry. May import `reads`, `fleet`, `orders` and `store`; never `web` or
`links`.
"""
