"""Personal data, apart from everything else, under a key per person: to erase is to destroy a key."""
