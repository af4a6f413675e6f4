"""The head end: sells credit, orders supply, reads meters, keeps the books.

One package a domain (fleet, keys, ledger, orders, reads, links, web), models, rules and statements side by side.
Domain code is synchronous: plain functions with an explicit connection, a time read once, entropy handed in. asyncio
lives in `links/`, `web/` and `service.py` alone. May import meterlink; never meter or metersim.
"""
