"""What forbids a stop, and what holds stand: exclusions, the calendar, evidence; and where meters stand in the utility.

`bars` is the one question that whatever may open a relay asks before it is sent. Everything here is data with its
history: who set it, since when, on what evidence. May import the store, orders and the audit; never the web.
"""

from headend.registry.bars import Bar, bars

__all__ = ["Bar", "bars"]
