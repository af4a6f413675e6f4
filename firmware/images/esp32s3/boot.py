"""Nothing: it stands here so that a file of this name on the board is never run."""
