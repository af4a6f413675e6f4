"""One module a step, named vNNNN_what."""
