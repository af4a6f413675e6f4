"""Tables of the daily audit of configuration: what was wanted of a meter, what it reported, and the difference."""
