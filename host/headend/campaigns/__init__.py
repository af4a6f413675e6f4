"""Many meters as one piece of work: a dry run, groups, a pace, holds, an abort, a recall.

`making` and `checking` are the dry run, `plan` says how it goes, `lifecycle` is its life as a table, `carrying` states
its orders, `following` counts and decides, `sending` is asked where an order is about to be sent, `progress` tells how
it stands. A campaign is a list of the gate: a second person approves it, and what may open a relay passes all that any
order passes. May import gate, orders and registry; only `sending`, which imports none of them, is asked by orders.
"""
