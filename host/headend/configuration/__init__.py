"""What is wanted of a meter against what it reports: mode, tariff, limits, keys, firmware, clock; audited every day.

`aspects` compares (pure), `held` keeps what meters were shown to hold, `auditing` goes through the fleet, `repair`
proposes the orders that mend what differs, `policy` are its limits. A finding closes itself when the meter reports
right. May import gate, orders and campaigns' lists; orders and the engine know of `held` alone.
"""
