"""`openprepay firmware`: make an image for a board, and say what is in one."""

import argparse
import hashlib
import sys
from pathlib import Path

from meterlink import image
from metersim import bundle, romfs
from metersim.build import BuildError

DONE = 0
FAILED = 1
USAGE = 2


def main(argv: list[str]) -> int:
    """Run one sub-command: 0 done, 1 it could not be done, 2 a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="openprepay firmware",
        description="Make an image of the firmware, and say what is in one. How it comes to a meter: docs/update.md.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    make = commands.add_parser("bundle", help="compile the firmware into one file", description=_bundle.__doc__)
    make.add_argument("--board", required=True, choices=sorted(bundle.BOARDS))
    make.add_argument("--out", required=True, type=Path, metavar="FILE", help="a new file")
    make.add_argument("--release", type=_release, metavar="A.B.C", help="in place of the one in meter/release.py")
    make.set_defaults(run=_bundle)
    show = commands.add_parser("show", help="what an image says of itself", description=_show.__doc__)
    show.add_argument("file", type=Path, metavar="FILE")
    show.add_argument("--files", action="store_true", help="list its files, too")
    show.set_defaults(run=_show)
    try:
        given = parser.parse_args(argv)
    except SystemExit as ended:
        return int(ended.code or 0)
    try:
        given.run(given)
    except (BuildError, image.ImageError, ValueError, OSError) as error:
        print(f"openprepay firmware: {error}", file=sys.stderr)
        return FAILED
    return DONE


def _release(text: str) -> bundle.Release:
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) <= bundle.MAX_MINOR for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} given, A.B.C with numbers of 0..{bundle.MAX_MINOR} expected")
    major, minor, patch = map(int, parts)
    return major, minor, patch


def _bundle(given: argparse.Namespace) -> None:
    """Compile the firmware for a board into one image, and write it to a new file."""
    made = bundle.bundle(given.board, given.release)
    with given.out.open("xb") as file:
        file.write(made)
    print("\n".join(described(made)))


def _show(given: argparse.Namespace) -> None:
    """What an image says of itself. That it is the right one, only its SHA-256 says."""
    raw = given.file.read_bytes()
    lines = described(raw)
    if given.files:
        lines += [f"{len(content):8}  {name}" for name, content in romfs.read(raw).items()]
    print("\n".join(lines))


def described(raw: bytes) -> list[str]:
    """An image in lines; ImageError or ValueError where it is none."""
    manifest = image.read_manifest(raw)
    files = romfs.read(raw)
    return [
        f"release        {'.'.join(map(str, manifest.release))}",
        f"board          {manifest.board}",
        f"legal version  {manifest.legal_version}",
        f"legal SHA-256  {manifest.legal_sha256.hex()}",
        f"journal        {manifest.journal}",
        f"length         {len(raw)} bytes, {len(files)} files",
        f"SHA-256        {hashlib.sha256(raw).hexdigest()}",
    ]
