"""openprepay: the one console command.

`cli` is a thin dispatcher; `demo` and `bench` are programs that need several packages at once. This package may import
every other one, always lazily: `openprepay --help` loads nothing but the standard library. No one imports this package.
"""
