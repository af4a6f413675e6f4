"""Which firmware this is."""

RELEASE = (0, 1, 0)
VERSION = "{}.{}.{}".format(*RELEASE)
JOURNAL = 2  # newest format of the journal that this firmware writes, and reads
LEGAL_VERSION = 1  # energy.py, credit.py, pricing.py, meterlink.tariff and the drivers
