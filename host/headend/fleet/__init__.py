"""The meters of this head end: what each is (`meters.py`) and where on a bus it is reached (`address.py`)."""
