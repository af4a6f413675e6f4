"""The tests: they mirror the code's folders, and `system/` runs several packages together.

Helpers: `needs` (what a test wants from the machine), `upyhost` (runs MicroPython), `upy` (runs *on* MicroPython).
"""
