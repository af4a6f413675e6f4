"""Tables of collection: schedules, what was read by when, and how good each line is."""
