"""What every key store does alike: it names keys, derives from masters, and keeps count of versions.

A per-meter key is HKDF-Expand (RFC 5869 2.3) of a master key of 32 random bytes: T(1) = HMAC-SHA-256(master, info ||
0x01), with info = purpose, meter, version. Extracting first is left out, as RFC 5869 3.3 allows for a key that is
uniformly random already; so a derivation is one HMAC, which a security module does without giving the master away. No
meter's key tells anything of another's, and none is stored.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NoReturn

from headend.keys.holder import KeyName, Name, NoSuchKey, VendingName
from headend.keys.state import MAX_KRN, MAX_SGC, MAX_VERSION, KeyState
from headend.refusals import Refused
from meterlink.mac import KEY_LENGTH, MacKey
from meterlink.orders import MAX_METER, ROLE_CONTROL, ROLE_CREDIT

CACHED_METERS = 65_536
DIGEST_LENGTH = 32
VENDING_KEY_LENGTH = 20  # DKGA04
DECODER_KEY_LENGTH = 16
ONLINE_ROLES = (ROLE_CREDIT, ROLE_CONTROL)  # root's private half is kept apart

_METER_KEY = b"openprepay meter key 1"
_CHECK = b"openprepay check value 1"  # begins like no message of DKGA04 and no info of a meter's key


class StatedKeys(ABC):
    """A KeyKeeper but for what touches secrets: that is left to the place where they live."""

    def __init__(self, state: KeyState) -> None:
        self.state = state
        self.mac_key: Callable[[int, int], MacKey] = lru_cache(CACHED_METERS)(self._mac_key)

    # --- left to the place --------------------------------------------------------------------------------------------

    @abstractmethod
    def can_sign(self, name: KeyName) -> bool: ...

    @abstractmethod
    def _sign(self, name: KeyName, digest: bytes) -> bytes: ...

    @abstractmethod
    def _hmac(self, name: VendingName | int, message: bytes) -> bytes:
        """HMAC-SHA-256 under a key that is known to be here."""

    @abstractmethod
    def _make_private(self, name: KeyName) -> bytes:
        """A fresh private half; gives the public one."""

    @abstractmethod
    def _put(self, name: VendingName | int, key: bytes | None) -> None:
        """Keep a secret key, fresh where None is given."""

    @abstractmethod
    def _destroy(self, name: Name) -> None:
        """Forget what is secret of a key, at the latest in `save`."""

    @abstractmethod
    def save(self) -> None: ...

    def unnamed(self) -> set[Name]:
        return set()

    # --- the epoch ----------------------------------------------------------------------------------------------------

    @property
    def use(self) -> str:
        return self.state.use

    @property
    def signing_epoch(self) -> int:
        return self.state.signing_epoch

    @property
    def source(self) -> int:
        return self.state.source

    @property
    def closed_sources(self) -> Mapping[int, int]:
        return self.state.closed_sources

    def open_epoch(self) -> None:
        self.state = self.state.following_epoch()

    # --- signing keys -------------------------------------------------------------------------------------------------

    def names(self) -> list[KeyName]:
        return self.state.in_force()

    def revoked(self) -> list[KeyName]:
        return sorted(self.state.revoked)

    def newest(self, role: int) -> KeyName:
        names = self.names()
        held = [name for name in names if name.role == role]
        if not held:
            raise NoSuchKey("role", role, f"one of {sorted({name.role for name in names})}")
        return max(held)

    def public_key(self, name: KeyName) -> bytes:
        if name not in self.state.public:
            raise NoSuchKey("key", tuple(name), f"one of {[tuple(held) for held in sorted(self.state.public)]}")
        return self.state.public[name]

    def fingerprint(self, name: KeyName) -> str:
        return hashlib.sha256(self.public_key(name)).hexdigest()[:16]

    def sign(self, name: KeyName, digest: bytes) -> bytes:
        if not self.can_sign(name):
            able = [tuple(held) for held in self.names() if self.can_sign(held)]
            raise NoSuchKey("key", tuple(name), f"one of {able}")
        if len(digest) != DIGEST_LENGTH:
            raise Refused("digest", f"{len(digest)} bytes", f"{DIGEST_LENGTH} bytes")
        return self._sign(name, digest)

    def make_signing_key(self, role: int) -> KeyName:
        there = self.state.public.keys() | self.unnamed()
        held = [name.version for name in there if isinstance(name, KeyName) and name.role == role]
        name = KeyName(role, _following("version", max(held, default=0)))
        self.add_public_key(name, self._make_private(name))
        return name

    def add_public_key(self, name: KeyName, point: bytes) -> None:
        if self.state.public.get(name, point) != point:
            raise Refused("key", tuple(name), "a version that is not there yet")
        self.state = replace(self.state, public={**self.state.public, name: point})

    # --- tag keys -----------------------------------------------------------------------------------------------------

    @property
    def tag_key_version(self) -> int:
        if not self.state.tag_keys:
            raise NoSuchKey("tag_key_version", None, "a key store with a master key")
        return max(self.state.tag_keys)

    def tag_key_versions(self) -> list[int]:
        return sorted(self.state.tag_keys)

    def meter_key(self, meter: int, version: int) -> bytes:
        if not 1 <= meter <= MAX_METER:
            raise Refused("meter", meter, f"1..{MAX_METER}")
        if version not in self.state.tag_keys:
            raise NoSuchKey("tag_key_version", version, f"one of {self.tag_key_versions()}")
        return self._hmac(version, _METER_KEY + meter.to_bytes(6, "big") + bytes((version, 1)))

    def _mac_key(self, meter: int, version: int) -> MacKey:
        """`meter_key`, ready for use. Public as `mac_key`, which remembers the last 65 536."""
        return MacKey(self.meter_key(meter, version))

    def make_tag_key(self, master: bytes | None = None) -> int:
        _check_length("master", master, KEY_LENGTH)
        state = self.state
        there = state.tag_keys | state.retired_tag_keys | {name for name in self.unnamed() if isinstance(name, int)}
        version = _following("tag_key_version", max(there, default=0))
        self._put(version, master)
        self.state = replace(state, tag_keys=state.tag_keys | {version})
        return version

    # --- vending keys -------------------------------------------------------------------------------------------------

    def vending_names(self) -> list[VendingName]:
        return sorted(self.state.vending)

    def vending_expires_s(self, name: VendingName) -> int | None:
        self._find_vending(name)
        return self.state.vending[name]

    def decoder_key(self, vending: VendingName, message: bytes) -> bytes:
        self._find_vending(vending)
        return self._hmac(vending, message)[:DECODER_KEY_LENGTH]

    def add_vending_key(self, name: VendingName, key: bytes | None = None, expires_s: int | None = None) -> None:
        if not 0 <= name.sgc <= MAX_SGC:
            raise Refused("sgc", name.sgc, f"0..{MAX_SGC}")
        if not 1 <= name.krn <= MAX_KRN:
            raise Refused("krn", name.krn, f"1..{MAX_KRN}")
        if name in self.state.vending:
            raise Refused("vending key", tuple(name), "a name that is not there yet (retire the old key first)")
        _check_length("vending key", key, VENDING_KEY_LENGTH)
        self._put(name, key)
        self.state = replace(self.state, vending={**self.state.vending, name: expires_s})

    def _find_vending(self, name: VendingName) -> None:
        if name not in self.state.vending:
            raise NoSuchKey("vending key", tuple(name), f"one of {[tuple(held) for held in self.vending_names()]}")

    # --- all of them --------------------------------------------------------------------------------------------------

    def check_value(self, name: VendingName | int) -> str:
        if isinstance(name, VendingName):
            self._find_vending(name)
        elif name not in self.state.tag_keys:
            raise NoSuchKey("tag_key_version", name, f"one of {self.tag_key_versions()}")
        return self._hmac(name, _CHECK)[:3].hex()

    def retire(self, name: Name) -> None:
        state = self.state
        if name in self.unnamed():
            pass
        elif isinstance(name, VendingName):
            self._find_vending(name)
            held = {vending: expires_s for vending, expires_s in state.vending.items() if vending != name}
            self.state = replace(state, vending=held)
        elif isinstance(name, KeyName):
            self.public_key(name)
            if [held for held in self.names() if held.role == name.role] == [name]:
                _refuse_last("key", tuple(name))
            self.state = replace(state, revoked=state.revoked | {name})
        else:
            if name not in state.tag_keys | state.retired_tag_keys:
                raise NoSuchKey("tag_key_version", name, f"one of {self.tag_key_versions()}")
            if state.tag_keys == {name}:
                _refuse_last("tag_key_version", name)
            retired = state.retired_tag_keys | {name}
            self.state = replace(state, tag_keys=state.tag_keys - {name}, retired_tag_keys=retired)
            self.mac_key = lru_cache(CACHED_METERS)(self._mac_key)
        self._destroy(name)

    def fill(self) -> None:
        """The first keys of the roles that are online, and the first tag key."""
        for role in ONLINE_ROLES:
            self.make_signing_key(role)
        self.make_tag_key()


def _following(field: str, version: int) -> int:
    if version >= MAX_VERSION:
        raise Refused(field, version + 1, f"0..{MAX_VERSION}: no further version can be made")
    return version + 1


def _check_length(field: str, key: bytes | None, length: int) -> None:
    """The value itself is not shown: it is a secret."""
    if key is not None and len(key) != length:
        raise Refused(field, f"{len(key)} bytes", f"{length} bytes")


def _refuse_last(field: str, value: object) -> NoReturn:
    raise Refused(field, value, "a key that is not the last of its kind (rotate first)")
