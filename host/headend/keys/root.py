"""The root key's file, which lies offline: under a passphrase, or under a secret that custodians share."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from headend.keys import custodians, passphrase, sealed
from headend.keys.keystore import KeyStore
from headend.keys.sealed import KeyFileError


def open_root(path: Path, shares: Sequence[Path], environ: Mapping[str, str], passphrase_file: str = "") -> KeyStore:
    """Open the root key's file with share files, or with its passphrase where it was not split.

    Raises KeyFileError that says what is missing or wrong.
    """
    split = sealed.head(sealed.read_secret(path)).shares
    if split is not None:
        needed, made = split
        if not shares:
            raise KeyFileError(f"{path} opens with {needed} of its {made} shares: name each with --share.")
        return KeyStore.load(path, custodians.combine(shares))
    if shares:
        raise KeyFileError(f"{path} opens with a passphrase; there are no shares of it.")
    return KeyStore.load(path, find_passphrase(path, environ, passphrase_file))


def find_passphrase(path: Path, environ: Mapping[str, str], file: str, *, again: bool = False) -> str:
    """The root key's own passphrase, else the key store's."""
    own = bool(environ.get(passphrase.ROOT) or file)
    return passphrase.find(environ, passphrase.ROOT if own else passphrase.KEYSTORE, file, str(path), again=again)
