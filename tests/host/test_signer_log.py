"""The files of the signer's log: full ones are kept, whatever instant a change of file is cut short at."""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headend.clock import ManualClock
from headend.keys.sealed import KeyFileError
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_lines import OrderLine, link
from headend.keys.signer_log import SignerLog
from headend.keys.signer_process import main
from meterlink.orders import Order
from tests.host.books import NOW_S
from tests.host.signer_rig import KEYS, credit

SMALL = 1_500  # some four orders
CUT = 9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def sign(log: SignerLog, first: int, last: int) -> list[bytes]:
    """Totals first..last of meter 1 .. 3, one batch each; the digests."""
    signer = Signer(KEYS, log, ManualClock(NOW_S), Caps(10**9))
    made = [signer.sign([credit(total_uc % 3 + 1, total_uc)])[0] for total_uc in range(first, last + 1)]
    return [Order(raw).digest for raw in made if isinstance(raw, bytes)]


def names(path: Path) -> list[str]:
    return sorted(one.name.removeprefix("log").removeprefix(".") for one in path.parent.iterdir())


def test_full_files_are_kept_and_the_chain_goes_on(path: Path) -> None:
    log = SignerLog(path, rotate_bytes=SMALL)
    digests = sign(log, 1, 20)
    chain, totals = log.chain, dict(log.totals)
    log.close()
    assert names(path)[:5] == ["", "1", "1.digests", "2", "2.digests"]
    assert [name for name in names(path) if name.endswith("books")] == [f"{len(names(path)) // 2 - 1}.books"]
    again = SignerLog(path, rotate_bytes=SMALL)
    assert (again.chain, again.totals) == (chain, totals)
    assert all(again.has(digest) for digest in digests)
    assert not any(again.has(random.Random(number).randbytes(32)) for number in range(50))
    assert main(["check", "--log", str(path)]) == 0


def test_books_and_digests_are_made_again_where_they_are_missing_or_torn(path: Path) -> None:
    log = SignerLog(path, rotate_bytes=SMALL)
    digests = sign(log, 1, 20)
    books, chain = log.books, log.chain
    log.close()
    beside = [one for one in path.parent.iterdir() if one.suffix in (".books", ".digests")]
    for damage in (Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-7])):
        for file in beside:
            if file.exists():
                damage(file)
        again = SignerLog(path)
        assert (again.books, again.chain) == (books, chain)
        assert all(again.has(digest) for digest in digests)
        again.close()


def test_books_of_the_full_files_are_enough_to_go_on(path: Path) -> None:
    """Who wants to may put old files away: what they add up to stays. Whether an order stands there cannot be said."""
    log = SignerLog(path, rotate_bytes=SMALL)
    sign(log, 1, 20)
    totals = dict(log.totals)
    log.close()
    for number in (1, 2):
        (path.parent / f"log.{number}").unlink()
    again = SignerLog(path)
    assert again.totals == totals
    assert len(sign(again, 21, 22)) == 2
    again.close()
    (path.parent / "log.1.digests").unlink()
    with pytest.raises(KeyFileError, match=r"log\.1 cannot be read: No such file"):
        SignerLog(path).has(bytes(32))


def test_what_is_missing_or_does_not_follow_is_named(path: Path) -> None:
    log = SignerLog(path, rotate_bytes=SMALL)
    sign(log, 1, 20)
    log.close()
    newest, held = path.read_bytes(), {one: one.read_bytes() for one in path.parent.iterdir()}
    path.unlink()
    with pytest.raises(KeyFileError, match=r"log is missing, but \d full files of this log are there"):
        SignerLog(path)
    path.write_bytes((path.parent / "log.1").read_bytes())
    with pytest.raises(KeyFileError, match=r"log is file 1 of its log, but file \d is full already"):
        SignerLog(path)
    path.write_bytes(newest.replace(b'"file":', b'"file": '))
    with pytest.raises(KeyFileError, match="line 1: it, or a line before it, was changed"):
        SignerLog(path)
    for one, raw in held.items():
        one.write_bytes(raw)
    (path.parent / "log.2").write_bytes(held[path.parent / "log.2"].replace(b'"total_uc":7', b'"total_uc":8'))
    assert main(["check", "--log", str(path)]) == 1
    for one in path.parent.glob("*.books"):
        one.unlink()
    with pytest.raises(KeyFileError, match=r"log\.2, line \d: it, or a line before it, was changed"):
        SignerLog(path)


class Cut:
    """Ends this process at the n-th change of a file, as a power cut would."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, event: str, arguments: Any) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.rename", "os.remove", "os.truncate"):
            self.left -= 1
            if self.left < 0:
                os._exit(CUT)


def cuts() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def test_a_change_of_file_may_be_cut_short_anywhere(tmp_path: Path) -> None:
    """A child signs until files were changed three times over and is ended at each of its file operations in turn."""
    for number in cuts():
        path = tmp_path / str(number) / "log"
        path.parent.mkdir()
        child = os.fork()
        if child == 0:
            sys.addaudithook(Cut(number))
            with open(path.parent / "left", "ab", buffering=0) as left:
                log = SignerLog(path, rotate_bytes=SMALL)
                for total_uc in range(1, 16):
                    left.write(b"".join(sign(log, total_uc, total_uc)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        raw = (path.parent / "left").read_bytes() if number else b""
        digests = [raw[at : at + 32] for at in range(0, len(raw), 32)]
        log = SignerLog(path, rotate_bytes=SMALL)
        assert all(log.has(digest) for digest in digests)
        before = len(digests)
        sign(log, before + 1, 20)
        assert log.totals == {(1, 1, 1): 18, (2, 1, 1): 19, (3, 1, 1): 20}
        assert log.books.day_uc == 57
        log.close()
        assert main(["check", "--log", str(path)]) == 0
        if os.waitstatus_to_exitcode(status) == 0:
            break
    assert number > 15


def test_a_long_log_is_opened_from_its_books(path: Path) -> None:
    """Opening reads the newest file alone: the full ones need not even be there."""
    lines = [
        OrderLine(NOW_S, number, number % 1000 + 1, 1, 1, 1, 1, 0, number, 0, 1, 0, "a", f"{number:064x}")
        for number in range(20_000)
    ]
    log = SignerLog(path, rotate_bytes=1 << 20)
    for at in range(0, len(lines), 500):
        for line in lines[at : at + 500]:
            log.books.count(line)
        log.append(lines[at : at + 500])
    log.close()
    for full in path.parent.glob("log.[0-9]"):
        full.rename(full.with_suffix(".away"))
    again = SignerLog(path)
    assert again.totals == log.totals and again.chain == log.chain
    assert link(log.chain, lines[:1]) == link(again.chain, lines[:1])


# --- for people -------------------------------------------------------------------------------------------------------


def test_the_log_is_checked_and_listed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = SignerLog(path, rotate_bytes=SMALL)
    sign(log, 1, 20)
    log.close()
    with path.open("ab") as file:
        file.write(b'{"kind":"order","torn')
    assert main(["check", "--log", str(path), "--by", "meter"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in told[:3]] == [
        ["00000000000001", "0.000018"],
        ["00000000000002", "0.000019"],
        ["00000000000003", "0.00002"],
    ]
    assert told[3:5] == [
        "20 orders, 0 typed tokens, 0 read back from meters.",
        "Credited 0.000057, refunded 0.00, typed 0 Wh.",
    ]
    assert told[5].endswith(f"chain {log.chain.hex()}.")
    for by, key in (("day", "2027-01-15"), ("channel", "channel:pos-1")):
        assert main(["check", "--log", str(path), "--by", by]) == 0
        assert capsys.readouterr().out.splitlines()[0].split()[:2] == [key, "0.000057"]
    assert main(["log", "--log", str(path), "--meter", "2", "--last", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line[:55] for line in told] == ["2027-01-15T08:00:00Z 00000000000002 credit 1 account 1 "] * 2
    assert "total 0.000019 +0.000003 channel:pos-1 order 1 " in told[1]
    assert main(["check", "--log", str(path.parent / "none")]) == 1
    assert "none cannot be read: No such file" in capsys.readouterr().err
