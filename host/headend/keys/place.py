"""Where the setting `keystore` says that the keys are: an encrypted file, or a token of a security module.

What is said here about a passphrase holds for a token's PIN too: it comes from the same places.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headend.keys import passphrase
from headend.keys.holder import PRODUCTION, KeyHolder, KeyKeeper
from headend.keys.hsm_uri import SCHEME, HsmUri
from headend.keys.keystore import KeyStore
from headend.keys.sealed import KeyFileError
from headend.keys.state import KeyState

if TYPE_CHECKING:
    from headend.keys.hsm import HsmKeys


class Place:
    """The text of the setting, understood. Raises Refused for a PKCS #11 URI that cannot be."""

    def __init__(self, setting: str) -> None:
        self.hsm = HsmUri.parse(setting) if setting.startswith(SCHEME) else None
        self.file = self.hsm.state if self.hsm else Path(setting)
        """The file that changes with the keys."""

    def __str__(self) -> str:
        return f"the token {self.hsm.token}" if self.hsm else str(self.file)

    def find_passphrase(self, environ: Mapping[str, str], file: str, *, again: bool = False) -> str:
        """Raises KeyFileError where there is none; see `passphrase.find`. A PIN is never asked for twice: it exists."""
        return passphrase.find(environ, passphrase.KEYSTORE, file, str(self), again=again and not self.hsm)

    def open(self, secret: str) -> KeyHolder:
        """The keys, to be used. Raises KeyFileError."""
        return _hsm().open(self.hsm, secret) if self.hsm else KeyStore.load(self.file, secret)

    @contextmanager
    def changing(self, secret: str) -> Iterator[KeyKeeper]:
        """The keys, to be changed: they are saved when the block ends without an error, by one process at a time."""
        with self._alone():
            keys: KeyKeeper = _hsm().open(self.hsm, secret, rw=True) if self.hsm else KeyStore.load(self.file, secret)
            yield keys
            keys.save()

    @contextmanager
    def creating(self, secret: str, signing_epoch: int, source: int, use: str = PRODUCTION) -> Iterator[KeyKeeper]:
        """Fresh keys in a place that has none, root's public half excepted; saved when the block ends without an
        error.
        """
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            if self.file.exists():
                raise KeyFileError(f"{self.file} is there already; it is not overwritten.")
            if self.hsm:
                token = _hsm().create(self.hsm, secret, signing_epoch, source, use)
                try:
                    yield token
                    token.save()
                except BaseException:
                    token.discard()
                    raise
            else:
                keys = KeyStore(KeyState(signing_epoch, source, use), {}, {})
                keys.fill()
                yield keys
                keys.save(self.file, secret)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = self.file.resolve().parent
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise KeyFileError(f"{folder} cannot be opened: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise KeyFileError(f"The keys in {folder} are being changed by another process.") from error
        finally:
            os.close(descriptor)


def open_keys(setting: str, environ: Mapping[str, str], passphrase_file: str = "") -> KeyHolder:
    """The keys of the setting `keystore`, with a passphrase from where it comes from. Raises KeyFileError, Refused."""
    place = Place(setting)
    return place.open(place.find_passphrase(environ, passphrase_file))


def _hsm() -> "type[HsmKeys]":
    """Loaded only where it is used: it needs an extra."""
    try:
        from headend.keys.hsm import HsmKeys
    except ModuleNotFoundError as missing:
        raise KeyFileError(
            f"Keys in a security module need the module {missing.name}; pip install 'openprepay[hsm]' brings it."
        ) from missing
    return HsmKeys
