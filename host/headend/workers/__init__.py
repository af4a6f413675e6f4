"""Processes that share one database and one broker: leases, roles, and how one takes over from another.

May import `store`, `engine` and `links`; never `web`.
"""
