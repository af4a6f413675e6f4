"""A small secret file: encrypted under a passphrase, written whole or not at all, readable by its owner alone.

JSON text: {"format", "scrypt": {"n", "r", "p"}, "salt", "nonce", "sealed"}, the last three in hexadecimal. The key is
scrypt (RFC 7914) of the passphrase; the content AES-256-GCM (NIST SP 800-38D) with everything before `sealed` as
associated data, so that no parameter can be changed unnoticed. Where the passphrase is a random secret that custodians
hold shares of, "shares": [needed, made] stands there too.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from headend.refusals import Refused

FORMAT = "openprepay-keys-2"
MAX_FILE = 1_000_000
MIN_PASSPHRASE = 12
MODE = 0o600

_NO_KEY_FILE = "This is not a key file, or it is damaged."
_KEY_LENGTH = 32
_SALT_LENGTH = 16
_NONCE_LENGTH = 12


class Work(NamedTuple):
    """How dear a guess at the passphrase is: scrypt's n (a power of two), r and p; memory is 128 * n * r bytes."""

    n: int
    r: int
    p: int


DEFAULT_WORK = Work(1 << 17, 8, 1)
_LARGEST = Work(1 << 20, 16, 4)  # what a file may ask of the machine that opens it


class Head(NamedTuple):
    """What a file tells unopened: the work of a guess, and how many `shares` of its secret (needed, made) there are."""

    work: Work
    shares: tuple[int, int] | None


class KeyFileError(Exception):
    """A key file that cannot be used; the text says which and why, and holds no secret."""


def seal(plain: bytes, passphrase: str, work: Work | None = None, shares: tuple[int, int] | None = None) -> bytes:
    """The file's bytes; raises Refused for a passphrase under 12 characters.

    `shares`: (needed, made), where the passphrase is split among custodians.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise Refused("passphrase", f"{len(passphrase)} characters", f"at least {MIN_PASSPHRASE} characters")
    n, r, p = work or DEFAULT_WORK
    salt, nonce = os.urandom(_SALT_LENGTH), os.urandom(_NONCE_LENGTH)
    bound: dict[str, Any] = {"format": FORMAT, "scrypt": {"n": n, "r": r, "p": p}}
    bound |= {"salt": salt.hex(), "nonce": nonce.hex()} | ({"shares": list(shares)} if shares else {})
    sealed = AESGCM(_derive(passphrase, salt, Work(n, r, p))).encrypt(nonce, plain, _bound(bound))
    return (json.dumps(bound | {"sealed": sealed.hex()}, indent=1) + "\n").encode()


def unseal(raw: bytes, passphrase: str) -> bytes:
    """What was sealed; raises KeyFileError for another format, a wrong passphrase or any change of the bytes."""
    work, shares = head(raw)
    bound = json.loads(raw)
    try:
        sealed = bytes.fromhex(bound.pop("sealed"))
        salt, nonce = bytes.fromhex(bound["salt"]), bytes.fromhex(bound["nonce"])
    except (ValueError, KeyError, TypeError) as error:
        raise KeyFileError(_NO_KEY_FILE) from error
    try:
        return AESGCM(_derive(passphrase, salt, work)).decrypt(nonce, sealed, _bound(bound))
    except (InvalidTag, ValueError) as error:
        wrong = "The passphrase is wrong" if shares is None else "The shares are another file's"
        raise KeyFileError(f"{wrong}, or the file was changed.") from error


def head(raw: bytes) -> Head:
    """What a file says of itself; nothing of it is proved before it was opened. Raises KeyFileError."""
    try:
        held = json.loads(raw)
        form = held["format"]
        if form != FORMAT:
            raise KeyFileError(f"The format is {str(form)[:40]!r}; {FORMAT} was expected.")
        work = Work(*(int(held["scrypt"][name]) for name in Work._fields))
        shares = held.get("shares")
        if shares is not None:
            needed, made = map(int, shares)
            shares = needed, made
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeyFileError(_NO_KEY_FILE) from error
    if not all(1 <= value <= most for value, most in zip(work, _LARGEST, strict=True)) or work.n & (work.n - 1):
        raise KeyFileError("The scrypt parameters are out of range: the file is damaged.")
    return Head(work, shares)


def _derive(passphrase: str, salt: bytes, work: Work) -> bytes:
    return Scrypt(salt=salt, length=_KEY_LENGTH, n=work.n, r=work.r, p=work.p).derive(passphrase.encode())


def _bound(held: dict[str, Any]) -> bytes:
    return json.dumps(held, sort_keys=True, separators=(",", ":")).encode()


def read_secret(path: Path) -> bytes:
    """The bytes of a secret file; raises KeyFileError when it is missing, oversize, or others may read it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyFileError(f"{path} has mode {mode:04o}; 0600 is expected (chmod 600 {path}).")
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}.") from error
    if len(raw) > MAX_FILE:
        raise KeyFileError(f"{path} is larger than {MAX_FILE} bytes: it is not a key file.")
    return raw


def write_secret(path: Path, raw: bytes, *, replace: bool = False) -> None:
    """Write a file of mode 0600 that is on disk, whole, when this returns.

    Without `replace` an existing file is left as it is and KeyFileError raised.
    """
    made = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(made, path)
            else:
                os.link(made, path)  # fails where `path` is: two at the same time cannot both win
        finally:
            made.unlink(missing_ok=True)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise KeyFileError(f"{path} is there already; it is not overwritten.") from error
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}.") from error


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
