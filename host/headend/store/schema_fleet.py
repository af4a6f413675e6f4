"""Tables of the grid and of what hangs on it: substations down to supply points, meter types, placements of meters."""
