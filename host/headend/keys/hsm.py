"""Keys in a hardware security module, over PKCS #11 2.40 (OASIS): no secret ever leaves it.

Objects of the token, none of them extractable, by their labels:

    openprepay/credit/2             EC P-256 private key, used with CKM_ECDSA on the digest
    openprepay/master/1             generic secret of 32 bytes, used with CKM_SHA256_HMAC
    openprepay/vending/123457/1     the same, of 20 bytes and 12 zero bytes after them
    openprepay/state                the same, for the MAC of the state file

HMAC fills a key up with zero bytes to its block (RFC 2104 2), so the zero bytes behind a vending key change nothing;
without them SoftHSM takes no key shorter than the hash. They also mean that a vending key is drawn outside the token
and put into it.

Beside the token stands the state file: JSON of `KeyState`, and a MAC of it under a key that is in the token. So nobody
who has only the file can change the signing epoch or a public key; and the PIN cannot be guessed with it.

Whether a token signs deterministically is its own affair (SoftHSM does not): signing a statement again then gives
another signature of the same digest.
"""

import hmac
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import (
    MultipleTokensReturned,
    NoSuchToken,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    UserAlreadyLoggedIn,
)
from pkcs11.util.ec import encode_named_curve_parameters

from headend.keys import sealed
from headend.keys.base import VENDING_KEY_LENGTH, StatedKeys
from headend.keys.holder import PRODUCTION, KeyName, Name, VendingName
from headend.keys.hsm_uri import HsmUri
from headend.keys.sealed import KeyFileError
from headend.keys.state import KeyState
from meterlink import names
from meterlink.mac import KEY_LENGTH

FORMAT = "openprepay-keystate-1"

_PREFIX = "openprepay/"
_STATE = _PREFIX + "state"
_HIDDEN = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
_TRIED = bytes(range(32))  # what keys are tried on when they are opened: the digest of nothing that anyone knows


class HsmKeys(StatedKeys):
    """Keys in a token: a KeyKeeper. Made by `create` or `open`. What goes wrong in the token is a KeyFileError."""

    def __init__(self, uri: HsmUri, session: pkcs11.Session, state: KeyState) -> None:
        self._uri = uri
        self._session = session
        self._objects = _objects(session)
        self._doomed: list[str] = []
        super().__init__(state)

    @classmethod
    def create(cls, uri: HsmUri, pin: str, signing_epoch: int = 1, source: int = 1, use: str = PRODUCTION) -> Self:
        """Make the first keys in a token that has none of ours, and the state file. Root's public half is not there
        yet: `add_public_key`, then `save`.
        """
        with _told(uri):
            session = _log_in(uri, pin, rw=True)
            held = sorted(_objects(session))
            if held:
                raise KeyFileError(f"The token {uri.token} holds keys already ({held[0]}); they are not overwritten.")
            if uri.state.exists():
                raise KeyFileError(f"{uri.state} is there already; it is not overwritten.")
            made = cls(uri, session, KeyState(signing_epoch, source, use))
            made._generate_secret(_STATE)
            made.fill()
            return made

    @classmethod
    def open(cls, uri: HsmUri, pin: str, *, rw: bool = False) -> Self:
        """Log in, and read the state; `rw`: to change keys. Raises KeyFileError: module, token, PIN, state file, or
        keys that do not fit.
        """
        raw = sealed.read_secret(uri.state)
        with _told(uri):
            opened = cls(uri, _log_in(uri, pin, rw=rw), KeyState())
            opened.state = opened._read_state(raw)
            opened._check()
            return opened

    def discard(self) -> None:
        """Destroy all keys in the token: for a `create` that did not come to its end."""
        with _told(self._uri):
            for item in self._objects.values():
                item.destroy()
        self._objects.clear()

    def close(self) -> None:
        """Log out."""
        with _told(self._uri):
            self._session.close()

    # --- secrets ------------------------------------------------------------------------------------------------------

    def can_sign(self, name: KeyName) -> bool:
        return name not in self.state.revoked and _label(name) in self._objects

    def _sign(self, name: KeyName, digest: bytes) -> bytes:
        with _told(self._uri):
            return bytes(self._objects[_label(name)].sign(digest, mechanism=Mechanism.ECDSA))

    def _hmac(self, name: VendingName | int, message: bytes) -> bytes:
        return self._mac(_label(name), message)

    def _mac(self, label: str, message: bytes) -> bytes:
        with _told(self._uri):
            if label not in self._objects:
                raise KeyFileError(f"The token {self._uri.token} does not hold {label}.")
            return bytes(self._objects[label].sign(message, mechanism=Mechanism.SHA256_HMAC))

    def _make_private(self, name: KeyName) -> bytes:
        label = _label(name)
        with _told(self._uri):
            curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
            parameters = self._session.create_domain_parameters(KeyType.EC, curve, local=True)
            public, private = parameters.generate_keypair(
                store=True,
                label=label,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                mechanism=Mechanism.EC_KEY_PAIR_GEN,
                private_template=_HIDDEN,
            )
            point = bytes(public[Attribute.EC_POINT])
            public.destroy()  # it stands in the state file
        self._objects[label] = private
        return point[-64:]  # an OCTET STRING around 04 || X || Y; some tokens leave the string out

    def _put(self, name: VendingName | int, key: bytes | None) -> None:
        label = _label(name)
        if label in self._objects:
            raise KeyFileError(f"The token {self._uri.token} holds a {label} which {self._uri.state} does not name.")
        if isinstance(name, VendingName) and key is None:
            key = os.urandom(VENDING_KEY_LENGTH)
        if key is None:
            self._generate_secret(label)
            return
        with _told(self._uri):
            self._objects[label] = self._session.create_object(
                {
                    Attribute.CLASS: ObjectClass.SECRET_KEY,
                    Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                    Attribute.LABEL: label,
                    Attribute.TOKEN: True,
                    Attribute.PRIVATE: True,
                    Attribute.SIGN: True,
                    Attribute.VALUE: key.ljust(KEY_LENGTH, b"\0"),
                    **_HIDDEN,
                }
            )

    def _generate_secret(self, label: str) -> None:
        with _told(self._uri):
            self._objects[label] = self._session.generate_key(
                KeyType.GENERIC_SECRET,
                KEY_LENGTH * 8,
                store=True,
                label=label,
                capabilities=MechanismFlag.SIGN,
                mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
                template=_HIDDEN,
            )

    def _destroy(self, name: Name) -> None:
        self._doomed.append(_label(name))

    def unnamed(self) -> set[Name]:
        state = self.state
        used: set[Name] = {*state.in_force(), *state.tag_keys, *state.vending}
        return {name for name in map(_name, self._objects) if name is not None} - used

    # --- the state file -----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state file, then destroy what was retired: a cut in between leaves a key that nobody uses."""
        state = self.state.as_json()
        text = json.dumps({"format": FORMAT, "state": state, "mac": self._state_mac(state).hex()}, indent=1) + "\n"
        sealed.write_secret(self._uri.state, text.encode(), replace=True)
        with _told(self._uri):
            for label in self._doomed:
                if label in self._objects:
                    self._objects.pop(label).destroy()
        self._doomed.clear()

    def _read_state(self, raw: bytes) -> KeyState:
        place = self._uri.state
        try:
            held = json.loads(raw)
            form, state, mac = held["format"], held["state"], bytes.fromhex(held["mac"])
        except (ValueError, KeyError, TypeError) as error:
            raise KeyFileError(f"{place} is not a state file, or it is damaged.") from error
        if form != FORMAT:
            raise KeyFileError(f"{place}: the format is {str(form)[:40]!r}; {FORMAT} was expected.")
        if not hmac.compare_digest(mac, self._state_mac(state)):
            raise KeyFileError(f"{place} was changed, or it is another token's.")
        return KeyState.of_json(state)

    def _state_mac(self, state: dict[str, Any]) -> bytes:
        return self._mac(_STATE, json.dumps({"format": FORMAT, "state": state}, sort_keys=True).encode())

    def _check(self) -> None:
        """Each key that the state names is in the token, and private keys fit the public ones."""
        for label in (*map(_label, self.state.tag_keys), *map(_label, self.state.vending)):
            self._mac(label, _TRIED)
        for name in filter(self.can_sign, self.names()):
            signature = self._sign(name, _TRIED)
            halves = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + self.public_key(name))
            try:
                public.verify(utils.encode_dss_signature(*halves), _TRIED, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
            except InvalidSignature:
                raise KeyFileError(f"The halves of the key {tuple(name)} do not fit.") from None


def _objects(session: pkcs11.Session) -> dict[str, Any]:
    """Our keys in the token by label."""
    found = {}
    for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY):
        for item in session.get_objects({Attribute.CLASS: kind}):
            label = str(item[Attribute.LABEL])
            if label.startswith(_PREFIX):
                found[label] = item
    return found


def _label(name: Name) -> str:
    if isinstance(name, VendingName):
        return f"{_PREFIX}vending/{name.sgc:06d}/{name.krn}"
    if isinstance(name, KeyName):
        return f"{_PREFIX}{names.of(names.ROLE, name.role)}/{name.version}"
    return f"{_PREFIX}master/{name}"


def _name(label: str) -> Name | None:
    """The opposite of `_label`; None for what is no key of these."""
    kind, *numbers = label.removeprefix(_PREFIX).split("/")
    try:
        if kind == "vending":
            return VendingName(*map(int, numbers))
        (version,) = map(int, numbers)
        return version if kind == "master" else KeyName(names.code(names.ROLE, kind), version)
    except (ValueError, TypeError):
        return None


def _log_in(uri: HsmUri, pin: str, *, rw: bool) -> pkcs11.Session:
    try:
        module = pkcs11.lib(uri.module)
    except PKCS11Error as error:
        why = str(error).rpartition(": ")[2]
        raise KeyFileError(f"The PKCS #11 module {uri.module} cannot be loaded: {why}.") from None
    token = module.get_token(token_label=uri.token)
    try:
        return token.open(rw=rw, user_pin=pin)
    except UserAlreadyLoggedIn:  # by this very process, which has the token open twice
        return token.open(rw=rw)


_SENTENCES = {
    NoSuchToken: "There is no token {uri.token} in {uri.module}.",
    MultipleTokensReturned: "There are several tokens {uri.token} in {uri.module}.",
    PinIncorrect: "The PIN of the token {uri.token} is wrong.",
    PinInvalid: "The PIN of the token {uri.token} is wrong.",
    PinLenRange: "The PIN of the token {uri.token} is wrong: its length cannot be.",
    PinLocked: "The PIN of the token {uri.token} is locked: the security officer has to set it anew.",
}


@contextmanager
def _told(uri: HsmUri) -> Iterator[None]:
    """An error of the module becomes a sentence."""
    try:
        yield
    except PKCS11Error as error:
        sentence = _SENTENCES.get(type(error), "The token {uri.token} ({uri.module}) answers {error}.")
        said = f"{type(error).__name__} {error}".strip()
        raise KeyFileError(sentence.format(uri=uri, error=said)) from None
