"""Makes an image of the firmware that a meter can be updated to: the lean, compiled application as a ROMFS, with its
manifest as the last file (`meterlink.image`). Equal sources make equal bytes.

The legally relevant part is hashed as its sources: the compiled files hold short names that change with every other
module, and an approval is given to sources.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from meter import release as running
from meterlink import image
from metersim import build, romfs

BOARDS = {
    "unix": "meter.boards.unix_main",
    "esp32s3": "meter.boards.esp32s3_main",
    "pico_w": "meter.boards.pico_w_main",
}

# What makes energy and money out of pulses: modules, and drivers of metering chips.
LEGAL = re.compile(
    r"meter/(energy|calibration|metering|pricing|credit|allowance)\.py"
    r"|meter/drivers/(atm90e26|bl0942|pulse_\w+)\.py"
    r"|meterlink/(tariff|calendar|billing)\.py"
)
MANIFEST = "manifest"
MAX_MINOR = 255

Release = tuple[int, int, int]


def bundle(board: str, release: Release | None = None, changed: Mapping[str, str] | None = None) -> bytes:
    """The image for a board; BuildError where it cannot be made.

    release: in place of the one that the sources say · changed: text of sources in place of the project's own, by name
    ("meter/core.py").
    """
    if board not in BOARDS:
        raise build.BuildError(f"board: {board!r} given, one of {', '.join(BOARDS)} expected")
    texts = dict(changed or {})
    if release is not None:
        texts["meter/release.py"] = released(release)
    folder = build.build(entry=BOARDS[board], changed=texts)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.mpy"))}
    manifest = image.Manifest(
        running.RELEASE if release is None else release,
        running.LEGAL_VERSION,
        running.JOURNAL,
        board,
        legal_sha256(set(files), texts),
    )
    made = romfs.image(files, (MANIFEST, manifest.pack()), image.UNIT)
    if len(made) > image.MAX_LENGTH:
        raise build.BuildError(f"image: {len(made)} bytes given, at most {image.MAX_LENGTH} expected")
    return made


def released(release: Release) -> str:
    """The source of `meter/release.py` with another release."""
    if not all(0 <= part <= MAX_MINOR for part in release):
        raise build.BuildError(f"release: {release} given, three numbers of 0..{MAX_MINOR} expected")
    text = Path(running.__file__).read_text(encoding="utf-8")
    return re.sub(r"(?m)^RELEASE = .*$", f"RELEASE = {release}", text)


def legal_sha256(files: set[str], changed: Mapping[str, str]) -> bytes:
    """SHA-256 over name, zero byte, text, zero byte of each legally relevant module of the image, in the order of their
    names. files: those of the image, compiled."""
    hasher = hashlib.sha256()
    for name, path in sorted(build.sources().items()):
        if LEGAL.fullmatch(name) and name.removesuffix(".py") + ".mpy" in files:
            text = changed.get(name) or path.read_text(encoding="utf-8")
            hasher.update(name.encode() + b"\0" + text.encode() + b"\0")
    return hasher.digest()
