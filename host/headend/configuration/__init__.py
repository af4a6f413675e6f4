"""What was wanted of each meter, held against what it reports: mode, tariff, keys, limits, firmware, clock.

Daily, with repairs proposed. May import `orders`, `gate`, `fleet`, `reads` and `store`; never `web`.
"""
