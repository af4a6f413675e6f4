"""ROMFS as we write it, read back by ourselves and by MicroPython's own `vfs.VfsRom`; images and their command line."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter import release
from meterlink import image
from metersim import build, bundle, bundle_cli, romfs
from tests import upyhost

NAME = st.text("abcdefghijkl_", min_size=1, max_size=9)
FILES = st.dictionaries(
    st.lists(NAME, min_size=1, max_size=4).map(lambda parts: "/".join(parts) + ".mpy"),
    st.binary(max_size=300) | st.integers(0, 20_000).map(bytes),
    max_size=12,
)
WALK = """
import json, os, sys, hashlib, vfs
vfs.mount(vfs.VfsRom(memoryview(open(sys.argv[1], "rb").read())), "/rom")
def walk(path):
    for entry in os.ilistdir(path):
        name = path + "/" + entry[0]
        if entry[1] == 0x4000:
            yield from walk(name)
        else:
            with open(name, "rb") as file:
                yield name[5:], hashlib.sha256(file.read()).digest().hex()
print(json.dumps(dict(walk("/rom"))))
"""


@given(FILES, st.binary(min_size=1, max_size=70), st.sampled_from([2, 8, 16]))
def test_files_come_back(files: dict[str, bytes], last: bytes, unit: int) -> None:
    raw = romfs.image(files, ("manifest", last), unit)
    assert len(raw) % unit == 0 and raw.endswith(last)
    assert romfs.read(raw) == files | {"manifest": last}
    assert romfs.read(raw + b"\xff" * 100) == files | {"manifest": last}


@given(st.binary(max_size=200))
def test_what_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        romfs.read(raw)


@settings(max_examples=10, deadline=None)
@given(files=FILES)
def test_micropython_reads_the_same(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("rom") / "image"
    path.write_bytes(romfs.image(files, ("manifest", bytes(64)), 8) + b"\xff" * 999)
    walk = path.with_name("walk.py")
    walk.write_text(WALK)
    seen = json.loads(upyhost.run(walk, str(path)).stdout)
    wanted = files | {"manifest": bytes(64)}
    assert seen == {name: hashlib.sha256(content).hexdigest() for name, content in wanted.items()}


def test_an_image_is_made_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "image"
    assert bundle_cli.main(["bundle", "--board", "unix", "--out", str(path), "--release", "7.8.9"]) == 0
    told = capsys.readouterr().out
    raw = path.read_bytes()
    assert raw == bundle.bundle("unix", (7, 8, 9)), "equal sources make equal bytes"
    manifest = image.read_manifest(raw)
    assert (manifest.release, manifest.board, manifest.journal) == ((7, 8, 9), "unix", release.JOURNAL)
    assert manifest.legal_sha256 == image.read_manifest(bundle.bundle("unix")).legal_sha256
    assert bundle_cli.main(["show", str(path), "--files"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(told.rstrip("\n")) and re.search(r"^ +\d+  meter/core\.mpy$", shown, re.MULTILINE)
    assert hashlib.sha256(raw).hexdigest() in shown
    assert bundle_cli.main(["bundle", "--board", "unix", "--out", str(path)]) == 1  # it is there already
    path.write_bytes(raw[:-1])
    assert bundle_cli.main(["show", str(path)]) == 1
    assert "manifest" in capsys.readouterr().err
    assert bundle_cli.main(["bundle", "--board", "unix", "--out", "x", "--release", "1.2"]) == 2


def test_the_legal_part_is_what_its_sources_are() -> None:
    """Its hash changes with one of them and with nothing else."""
    files = {name.removesuffix(".py") + ".mpy" for name in build.sources()}
    legal = {name for name in build.sources() if bundle.LEGAL.fullmatch(name)}
    assert {"meter/energy.py", "meter/credit.py", "meterlink/tariff.py"} <= legal
    before = bundle.legal_sha256(files, {})
    for name in legal:
        assert bundle.legal_sha256(files, {name: "pass"}) != before
    assert bundle.legal_sha256(files, {"meter/core.py": "pass"}) == before
    assert bundle.legal_sha256(files - {"meter/energy.mpy"}, {}) != before
