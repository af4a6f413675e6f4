"""Tables of what was found wrong with readings, what stands in for missing ones, and visits to meters nobody hears."""
