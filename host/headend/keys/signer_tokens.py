"""Typed tokens as the signer makes them: they are worth energy by themselves, so nobody else holds their keys.

What is counted is counted by PAN, which the decoder key is bound to, and not by the number that the head end has for
the meter.
"""

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

from headend.keys.holder import KeyHolder, VendingName
from headend.refusals import Refused
from meterlink.sts import amount, dkga04, issue, token
from meterlink.sts.dkga04 import FieldError, KeyAttributes

MAX_AHEAD_S = 31 * 86_400  # how far a TID may lie in the future, so that a wrong one does not close a meter for years

_TENTH_WH = 100  # 0.1 kWh


class TokenWanted(msgspec.Struct, array_like=True, frozen=True):
    """A token and the key that it is for (IEC 62055-41; ranges: `sts.dkga04.KeyAttributes`, `sts.issue.once`).

    `meter`: the head end's number, for the log · `base`: year of the base date · `channel`: who asked for it ·
    `database_epoch`: signing epoch of the database.
    """

    meter: int
    pan: str
    sgc: int
    kt: int
    ti: int
    krn: int
    ken: int
    base: int
    token_class: int
    subclass: int
    rnd: int
    tid: int
    register: int
    channel: Annotated[str, Meta(max_length=80)]
    database_epoch: int


class KeyChangeWanted(msgspec.Struct, array_like=True, frozen=True):
    """A change of a meter's decoder key by typed tokens (`sts.keychange`).

    `old`: the key that the meter holds, and what stands for the change in the log (class 2, subclass 3, a TID of its
    own, which is in no section) · the rest: the new key, of the same PAN.
    """

    old: TokenWanted
    sgc: int
    kt: int
    ti: int
    krn: int
    ken: int
    base: int


def key_change_digest(wanted: KeyChangeWanted) -> bytes:
    """SHA-256 of all that decides the digits."""
    w = wanted
    deciding = (digest(w.old), w.sgc, w.kt, w.ti, w.krn, w.ken, w.base)
    return hashlib.sha256(b"openprepay key change 1" + msgspec.msgpack.encode(deciding)).digest()


def digest(wanted: TokenWanted) -> bytes:
    """SHA-256 of all that decides the digits."""
    w = wanted
    deciding = (w.pan, w.sgc, w.kt, w.ti, w.krn, w.base, w.token_class, w.subclass, w.rnd, w.tid, w.register)
    return hashlib.sha256(b"openprepay token 1" + msgspec.json.encode(deciding)).digest()


def issued_s(wanted: TokenWanted) -> int:
    """The minute that its TID is, in seconds since 1970 UTC. Raises Refused."""
    try:
        return issue.issued_s(wanted.base, wanted.tid)
    except FieldError as error:
        raise _refused(error) from error


def energy_wh(wanted: TokenWanted) -> int:
    """What it gives: the amount of a credit, the allowance of a supply help. Raises Refused for credit of another kind
    than electricity, which no cap here could weigh.
    """
    kind = (wanted.token_class, wanted.subclass)
    if kind == (token.CREDIT, 0):
        return amount.units_of(wanted.register & 0xFFFF) * _TENTH_WH
    if wanted.token_class == token.CREDIT:
        raise Refused("subclass", wanted.subclass, "0: credit in energy, which the caps are in")
    if kind == (token.MANAGE, token.SUPPLY_HELP):
        what, value = amount.help_of(wanted.register)
        return value * _TENTH_WH if what == amount.HELP_ALLOWANCE else 0
    return 0


def digits(keys: KeyHolder, wanted: TokenWanted, now_s: int) -> str:
    """The 20 digits. Raises Refused (a field, an expired key), NoSuchKey."""
    w = wanted
    try:
        attributes = KeyAttributes(w.pan, w.sgc, w.ti, w.kt, w.krn, w.base, w.ken)
        issue.check_expiry(w.tid, w.ken)
        key = _key(keys, attributes, now_s)
        return issue.once(key, w.token_class, w.subclass, w.rnd, w.tid, w.register)
    except FieldError as error:
        raise _refused(error) from error


def sections(keys: KeyHolder, wanted: KeyChangeWanted, now_s: int) -> list[str]:
    """The digits of the sections 1..4. Raises Refused (a field, an expired key), NoSuchKey."""
    old, new = wanted.old, wanted
    if (old.token_class, old.subclass) != (token.MANAGE, token.KEY_SECTION_1):
        raise Refused("subclass", old.subclass, f"{token.KEY_SECTION_1} of class {token.MANAGE}: a key change")
    bases = dkga04.BASES
    if new.base != old.base and new.base not in bases[bases.index(old.base) + 1 :][:1]:
        raise Refused("base", new.base, f"{old.base}, or the base date that follows it")
    try:
        held = KeyAttributes(old.pan, old.sgc, old.ti, old.kt, old.krn, old.base, old.ken)
        given = KeyAttributes(old.pan, new.sgc, new.ti, new.kt, new.krn, new.base, new.ken)
        keys_of = [_key(keys, attributes, now_s) for attributes in (held, given)]
        return issue.key_change(keys_of[0], keys_of[1], given, rollover=new.base != old.base)
    except FieldError as error:
        raise _refused(error) from error


def _key(keys: KeyHolder, attributes: KeyAttributes, now_s: int) -> bytes:
    vending = VendingName(attributes.sgc, attributes.krn)
    expires_s = keys.vending_expires_s(vending)
    if expires_s is not None and now_s >= expires_s:
        raise Refused("krn", attributes.krn, "a vending key that has not expired")
    return keys.decoder_key(vending, dkga04.message(attributes))


def _refused(error: FieldError) -> Refused:
    return Refused(error.field, error.value, error.expected.rstrip(","))
