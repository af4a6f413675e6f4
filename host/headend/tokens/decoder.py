"""The decoder key of a meter by its attributes (IEC 62055-41): which key its typed tokens are enciphered under.

The key itself is derived where tokens are made, and stands nowhere in the database.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import decoder
from meterlink.sts import dkga04
from meterlink.sts.dkga04 import FieldError, KeyAttributes
from meterlink.sts.issue import start_s

_IIN = "600727"  # of meters with a number of 11 digits; those with 13 have the IIN 0000
_DRN = 11
_LONG_DRN = 13

# The standard's short names -> ours.
_NAMES = {
    "sgc": "supply_group",
    "kt": "key_type",
    "ti": "tariff_index",
    "krn": "key_revision",
    "ken": "key_expiry",
    "base": "base_date",
}

_OF_METER = select(decoder).where(decoder.c.meter == bindparam("of"))
_CHANGE = update(decoder).where(decoder.c.meter == bindparam("of"))


@dataclass(frozen=True)
class Decoder:
    """What the key is bound to.

    pan: 18 digits with check digit · supply_group 0..999999 · key_type 0..3 · tariff_index 0..99 · key_revision 1..9 ·
    key_expiry 0..255 · base_date: 1993, 2014 or 2035.
    """

    pan: str
    supply_group: int
    key_type: int = dkga04.KT_DUTK
    tariff_index: int = 1
    key_revision: int = 1
    key_expiry: int = 255
    base_date: int = 2014

    def attributes(self) -> KeyAttributes:
        """For a derivation; raises Refused for the first field that does not fit."""
        try:
            return KeyAttributes(
                self.pan,
                self.supply_group,
                self.tariff_index,
                self.key_type,
                self.key_revision,
                self.base_date,
                self.key_expiry,
            )
        except FieldError as error:
            raise refused(error) from error

    def on_meter(self) -> tuple[int, int, int, int, int, int]:
        """The attributes as a provisioning record and a `keys` order have them (`bodies_root.decode_decoder`)."""
        return (
            self.supply_group,
            self.key_type,
            self.tariff_index,
            self.key_revision,
            self.key_expiry,
            dkga04.BASES.index(self.base_date),
        )


class NoDecoder(Refused):
    """Nothing is known of the meter's decoder key: no token can be made for it."""

    def __init__(self, meter: object) -> None:
        super().__init__("meter", meter, "a meter whose decoder key is known (supply group and further attributes)")


def refused(error: FieldError) -> Refused:
    """A refusal in this project's names."""
    return Refused(_NAMES.get(error.field, error.field), error.value, error.expected.rstrip(","))


def pan_of(meter: int) -> str:
    """The PAN of a meter's number, where none is given: a number of up to 11 digits is the DRN behind IIN 600727, one
    of 12 or 13 the DRN behind IIN 0000; then the check digit. Raises Refused for a longer number.
    """
    if meter >= 10**_LONG_DRN:
        raise Refused("pan", None, f"18 digits: the meter's number has more than {_LONG_DRN} digits")
    digits = f"{_IIN}{meter:0{_DRN}d}" if meter < 10**_DRN else f"0000{meter:0{_LONG_DRN}d}"
    return next(digits + last for last in "0123456789" if dkga04.luhn(digits + last))


def get(conn: Connection, meter: int) -> Row[Any]:
    """The `decoder` row; raises NoDecoder."""
    row = find(conn, meter)
    if row is None:
        raise NoDecoder(meter)
    return row


def find(conn: Connection, meter: int) -> Row[Any] | None:
    """The `decoder` row, or None."""
    return conn.execute(_OF_METER, {"of": meter}).one_or_none()


def of_row(row: Row[Any]) -> Decoder:
    """What a row says."""
    return Decoder(
        row.pan,
        row.supply_group,
        row.key_type,
        row.tariff_index,
        row.key_revision,
        row.key_expiry,
        row.base_date,
    )


def put(conn: Connection, meter: int, held: Decoder) -> None:
    """State which key the meter holds, as it was made or provisioned; the same again changes nothing.

    Raises Refused (UnknownMeter among it), also where tokens were vended under another key: that is for a key change.
    """
    held.attributes()
    lock_meter(conn, meter)
    row = find(conn, meter)
    if row is None:
        conn.execute(insert(decoder).values(meter=meter, **asdict(held)))
    elif row.next_tid == 0:
        conn.execute(_CHANGE, {"of": meter, **asdict(held)})
    elif of_row(row) != held:
        raise Refused("meter", meter, "a meter without tokens: its key is changed by a key change")


def change(conn: Connection, meter: int, held: Decoder) -> None:
    """The meter holds another key from now on. Call with the meter's row locked.

    TIDs go on where they are, so that no two tokens of a meter ever share one; under a later base date, from the moment
    on that they stood for.
    """
    held.attributes()
    row = get(conn, meter)
    shift = (start_s(held.base_date) - start_s(row.base_date)) // 60
    conn.execute(_CHANGE, {"of": meter, **asdict(held), "next_tid": max(0, row.next_tid - shift)})
