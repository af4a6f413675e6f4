"""Whether readings can be true: rules, flags, versions; what stands in for missing ones until the truth arrives.

Visits to meters that nobody hears are here too. Domain functions on a connection. May import `reads`, `fleet`,
`registry` and `store`; never `web`.
"""
