"""What every sub-command works with: the meter on its bus, the words, and where text goes."""

import sys
from dataclasses import dataclass
from pathlib import Path

from fieldtool import values
from fieldtool.words import Words
from headend.links.failures import LinkError
from headend.links.meter import MeterOnBus
from meterlink.mac import KEY_LENGTH, MacKey

# Exit codes. 3 is the dispatcher's (not installed), 130 Ctrl-C.
DONE = 0
NOT_SO = 1  # the meter refused, records are missing, or something is not genuine
USAGE = 2  # the command line, or a file that it names
LINK = 4  # the port, the line, or a device that does not answer as it should


class UsageError(Exception):
    """A command line or file that is not taken; the text names it, its value and what was expected."""


@dataclass
class Session:
    """One run of the tool on one meter."""

    meter: MeterOnBus
    words: Words

    def say(self, key: str, **fields: object) -> None:
        """A sentence of `words.SAY` on standard output."""
        print(self.words.say(key, **fields))

    def pairs(self, rows: list[tuple[str, str]]) -> None:
        """Labels and values under each other."""
        columns = max(values.width(label) for label, _ in rows)
        for label, value in rows:
            print(f"  {values.padded(label, columns)}  {value}".rstrip())

    def progress(self, key: str, *, last: bool = False, **fields: object) -> None:
        """How far it has got, on standard error: one line that changes on a terminal, else one at the end."""
        text = self.words.say(key, **fields)
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last:
            print(text, file=sys.stderr, flush=True)

    def failed(self, error: LinkError) -> str:
        """A failure in the tool's language, with the link's own sentence."""
        return self.words.say("failed", outcome=self.words.code("outcome", error.outcome), detail=error)


def mac_key(path: Path | None) -> MacKey | None:
    """The meter's key from a file of 32 bytes or 64 hexadecimal digits; None where no file is named."""
    if path is None:
        return None
    raw = file_bytes("--key-file", path)
    if len(raw) != KEY_LENGTH:
        try:
            raw = bytes.fromhex(raw.decode("ascii"))
        except ValueError:
            raw = b""
    if len(raw) != KEY_LENGTH:
        raise UsageError(f"--key-file: {path} holds no key; 32 bytes or 64 hexadecimal digits expected")
    return MacKey(raw)


def file_bytes(name: str, path: Path) -> bytes:
    """What a file holds ("-": standard input), at most 64 KiB of it."""
    try:
        if str(path) == "-":
            return sys.stdin.buffer.read(65536)
        with path.open("rb") as file:
            return file.read(65536)
    except OSError as error:
        raise UsageError(f"{name}: {path} cannot be read ({error.strerror})") from error
