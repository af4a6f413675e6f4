"""Moved to `meterlink.flashmap`."""

from meterlink.flashmap import (  # noqa: F401
    CHECKPOINT_S,
    CHECKPOINT_WH,
    SECTOR_BYTES,
    TOTAL_SECTORS,
)
