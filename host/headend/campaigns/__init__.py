"""Orders to many meters as one piece of work: dry run, groups, staggering, abort, progress, recall.

What a campaign may do, the gate decides. May import `gate`, `orders`, `registry`, `fleet` and `store`; never `web`.
"""
