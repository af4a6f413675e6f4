"""Where the passphrase of a key file comes from: the environment, a file, or a person. Never the command line."""

import getpass
import sys
from collections.abc import Mapping
from pathlib import Path

from headend.keys.sealed import KeyFileError, read_secret

KEYSTORE = "OPENPREPAY_KEYSTORE_PASSPHRASE"
ROOT = "OPENPREPAY_ROOT_PASSPHRASE"


def find(environ: Mapping[str, str], variable: str, file: str, what: str, *, again: bool = False) -> str:
    """The passphrase of `what`: from `variable`, else the first line of `file` (mode 0600), else asked for.

    `again`: a person types it twice. Raises KeyFileError where there is none and nobody to ask.
    """
    if environ.get(variable):
        return environ[variable]
    if file:
        try:
            return read_secret(Path(file)).decode().split("\n", 1)[0].removesuffix("\r")
        except UnicodeDecodeError as error:
            raise KeyFileError(f"{file} is not text in UTF-8.") from error
    if not sys.stdin.isatty():
        raise KeyFileError(f"No passphrase for {what}: set {variable}, or name a file that holds it.")
    given = getpass.getpass(f"Passphrase of {what}: ")
    if again and getpass.getpass("Once more: ") != given:
        raise KeyFileError("The two passphrases differ.")
    return given
