"""Tables of campaigns: groups, their pace, what was counted, and why one was stopped."""
