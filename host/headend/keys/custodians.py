"""A secret that several people hold together: SLIP-39 shares (Shamir's scheme), one file a custodian.

A share is a sentence of 33 English words with a checksum of its own; it can be written down and typed in again. Any
`needed` of the `made` shares give the secret, fewer tell nothing of it.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import shamir_mnemonic
from shamir_mnemonic.share import Share

from headend.keys.sealed import KeyFileError, read_secret
from headend.refusals import Refused

SECRET_LENGTH = 32
MOST = 16  # SLIP-39

Shares = tuple[int, int]
"""(needed, made)."""


def parse(text: str) -> Shares:
    """`2/3` → (2, 3). Raises Refused. One share alone is no sharing: 2 are the least that may be needed."""
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})", text, re.ASCII)
    needed, made = map(int, found.groups()) if found else (0, 0)
    if not 2 <= needed <= made <= MOST:
        raise Refused("custodians", text, f"K/N with 2 <= K <= N <= {MOST}, such as 2/3")
    return needed, made


def split(shares: Shares) -> tuple[str, list[str]]:
    """Draw a secret: 64 hexadecimal digits, and the text of each share's file."""
    secret = os.urandom(SECRET_LENGTH)
    (mnemonics,) = shamir_mnemonic.generate_mnemonics(1, [shares], secret, iteration_exponent=0)
    return secret.hex(), [mnemonic + "\n" for mnemonic in mnemonics]


def combine(paths: Iterable[Path]) -> str:
    """The secret out of share files. Raises KeyFileError that names the file which is no share, or says how many are
    missing. More shares than needed are fine; one given twice counts once.
    """
    found: dict[int, Share] = {}
    for path in paths:
        share = _read(path)
        for other in found.values():
            if share.common_parameters() != other.common_parameters():
                raise KeyFileError(f"{path} is a share of another secret than those before it.")
        found[share.index] = share
    needed = max((share.member_threshold for share in found.values()), default=2)
    if len(found) < needed:
        raise KeyFileError(f"{len(found)} different shares were given; {needed} are needed.")
    try:
        secret = shamir_mnemonic.combine_mnemonics([share.mnemonic() for share in list(found.values())[:needed]])
    except (shamir_mnemonic.MnemonicError, ValueError):
        raise KeyFileError("These shares do not belong together.") from None
    return bytes(secret).hex()


def _read(path: Path) -> Share:
    try:
        return Share.from_mnemonic(" ".join(read_secret(path).decode().split()))
    except (shamir_mnemonic.MnemonicError, ValueError):
        raise KeyFileError(f"{path} is not a share, or it is damaged: a word or its checksum is wrong.") from None
