"""One file a board, and what boards share: `unix` is the one that runs under MicroPython on a desk."""
