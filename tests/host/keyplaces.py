"""Places for keys that a test may use: a file, and a token of SoftHSM. What holds for one holds for the other."""

import itertools
import os
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from headend.keys import sealed
from headend.keys.holder import KeyHolder, KeyKeeper
from headend.keys.hsm_uri import HsmUri
from headend.keys.keystore import KeyStore
from headend.keys.place import Place
from tests import needs

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PASSPHRASE = "correct horse battery"
PIN = "714293"
KINDS = ("file", "hsm")

_numbers = itertools.count(1)


class KeyPlace:
    """An empty place of one kind in a folder: its setting, its secret, and what is secret in it."""

    def __init__(self, kind: str, folder: Path, module: str = "") -> None:
        self.kind, self.folder = kind, folder
        self.file = folder / "var" / "keys"
        self.setting, self.secret = str(self.file), PASSPHRASE
        if kind == "hsm":
            token = f"openprepay-{os.getpid()}-{next(_numbers)}"
            self.uri = HsmUri(token, module, self.file)
            self.setting, self.secret = str(self.uri), PIN
            make_token(token)
        self.place = Place(self.setting)

    def make(self, use: str = "production") -> KeyHolder:
        """The first keys, root's public half included, opened to be used."""
        root = KeyStore.generate().root_only()
        (name,) = root.names()
        with self.place.creating(self.secret, 1, 1, use) as keys:
            keys.add_public_key(name, root.public_key(name))
        return self.place.open(self.secret)

    def open(self) -> KeyHolder:
        return self.place.open(self.secret)

    def change(self) -> AbstractContextManager[KeyKeeper]:
        return self.place.changing(self.secret)

    def secrets(self) -> list[str]:
        """All that must be seen nowhere, in hexadecimal. What is in a token cannot be asked for: its PIN remains."""
        if self.kind == "hsm":
            return [PIN]
        held = sealed.unseal(self.file.read_bytes(), PASSPHRASE)
        found = KeyStore.load(self.file, PASSPHRASE)
        keys = [key.hex() for key in found._secrets.values()]
        scalars = [f"{scalar:064x}" for scalar in found._scalars.values()]
        assert all(secret.encode() in held for secret in keys + scalars)
        return [PASSPHRASE, *keys, *scalars]


def make_token(label: str) -> None:
    """A fresh token of SoftHSM, which the module sees when it is loaded anew."""
    words = [needs.program("softhsm2-util"), "--init-token", "--free", "--label", label]
    subprocess.run([*words, "--pin", PIN, "--so-pin", "12345678"], check=True, capture_output=True)
    load_anew()


def load_anew() -> None:
    """As another process would see the module: nobody is logged in. Holders that were open are of no more use."""
    import pkcs11

    pkcs11.lib(MODULE).reinitialize()


def configure(folder: Path) -> str:
    """Let SoftHSM keep its tokens in `folder`, for this process and its children; gives the module's path."""
    needs.program("softhsm2-util")
    needs.module("pkcs11", "hsm")
    module = needs.file(MODULE, "SoftHSM's module, which the Debian package softhsm2 brings")
    (folder / "tokens").mkdir()
    text = f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    (folder / "softhsm2.conf").write_text(text, encoding="utf-8")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    return str(module)
