"""Personal data, apart from everything else, under a key per person (`headend.people`)."""
