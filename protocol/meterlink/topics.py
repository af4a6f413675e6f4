"""MQTT topics: ``op/1/<shard>/<meter>/up|dn/<what>``.

The shard (00..63) lets workers divide a fleet among ordinary persistent sessions; the meter's number is a whole level,
so that a broker's ``%u`` pattern can confine each meter to its own topics (the client certificate's common name is it).
"""

SHARDS = 64

UP_STATE = "state"  # retained: birth report, or the will
UP_RECEIPT = "receipt"
UP_REPORT = "report"
UP_INTERVALS = "intervals"
UP_EVENTS = "events"
UP_ORDER = "order"  # the last signed order held, on request
UP_CLOSING = "closing"  # the closing statement of the account closed last, on request
UP_HELD = "held"  # which orders are held, on request
UP_UPDATE = "update"  # how far the meter is with an image (`image.Progress`)
DN_ORDER = "order"
DN_ASK = "ask"
DN_ACK = "ack"
DN_PARCEL = "parcel"  # a piece of a body that travels apart from its order
DN_IMAGE = "image"  # an offer or pieces of an image (`image.pack_message`)

_UP = (UP_STATE, UP_RECEIPT, UP_REPORT, UP_INTERVALS, UP_EVENTS, UP_ORDER, UP_CLOSING, UP_HELD, UP_UPDATE)
_DN = (DN_ORDER, DN_ASK, DN_ACK, DN_PARCEL, DN_IMAGE)


def shard(meter: int) -> int:
    """The shard of a meter: its number modulo 64, so consecutive numbers spread evenly."""
    return meter % SHARDS


def meter_name(meter: int) -> str:
    """A meter's number as printed on it, in topics and in certificates: decimal, at least 12 digits."""
    return "{:012d}".format(meter)


def up(meter: int, what: str) -> str:
    """Topic on which the meter speaks."""
    return "op/1/{:02d}/{}/up/{}".format(shard(meter), meter_name(meter), what)


def down(meter: int, what: str) -> str:
    """Topic on which the meter listens."""
    return "op/1/{:02d}/{}/dn/{}".format(shard(meter), meter_name(meter), what)


def parse(topic: str) -> "tuple[int, str, str] | None":
    """(meter, "up"|"dn", what) of a topic, or None where it is not one of ours (wrong shard included)."""
    parts = topic.split("/")
    if len(parts) != 6 or parts[0] != "op" or parts[1] != "1":
        return None
    digits = parts[3]
    if not digits.isdigit() or len(digits) > 15 or meter_name(int(digits)) != digits:
        return None
    meter = int(digits)
    if parts[2] != "{:02d}".format(shard(meter)):
        return None
    if (parts[4] == "up" and parts[5] in _UP) or (parts[4] == "dn" and parts[5] in _DN):
        return meter, parts[4], parts[5]
    return None
