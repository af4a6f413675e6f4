"""The fleet: the grid, the meters on it, their life.

`meters` takes meters in, `types` says what a type can do, `grid` and `points` are the places, `placement` is where a
meter stands and stood, `lifecycle` and `life` its life, `files` and `import_*` what comes and goes as CSV, `search`
finds by any identity, `swaps` tells two meters that stand in each other's place. Synchronous; each function takes its
connection and its time. `placement` and what lies beneath it import nothing of `epochs`, which calls them.
"""
