"""How a process that runs for months looks for garbage."""

import gc

_NEW = 20_000  # objects more than before a look at the young ones; Python's own is 700
_LOOKS = 20  # looks at them before one at those that stayed
_LONG = 100  # … and before one at all


def settle() -> None:
    """Called once everything is loaded: what is there now stays, and is looked at no more.

    A message is some dozens of objects that end by themselves. With Python's own thresholds a head end spends half of
    its time on looking at a heap in which nothing has changed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW, _LOOKS, _LONG)
