"""Chips as their data sheets describe them, down to bytes and clocks, for the tests of the drivers. Both interpreters.

They are written from the data sheets and share nothing with the drivers.
"""
