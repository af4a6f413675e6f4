"""The root key's file under a secret that several people hold together."""

import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headend.keys import custodians
from headend.keys.keystore import KeyStore
from headend.keys.root import open_root
from headend.keys.sealed import KeyFileError, Work, write_secret
from headend.refusals import Refused

QUICK = Work(1 << 10, 8, 1)


class Office:
    """A root key's file in a folder, with the shares that open it."""

    def __init__(self, folder: Path, shares: tuple[int, int]) -> None:
        self.root = KeyStore.generate().root_only()
        self.file = folder / "root.keys"
        self.secret, texts = custodians.split(shares)
        self.texts = texts
        self.shares = [folder / f"root.keys.share-{number}" for number in range(len(texts))]
        for path, text in zip(self.shares, texts, strict=True):
            write_secret(path, text.encode())
        self.root.save(self.file, self.secret, work=QUICK, shares=shares)

    def open(self, *shares: Path) -> KeyStore:
        return open_root(self.file, shares, {})


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, (2, 3))


def test_every_two_of_three_open_it(office: Office) -> None:
    (name,) = office.root.names()
    for some in (*combinations(office.shares, 2), tuple(office.shares), (*office.shares[:2], office.shares[0])):
        opened = office.open(*some)
        assert opened.can_sign(name) and opened.sign(name, bytes(32)) == office.root.sign(name, bytes(32))


@pytest.mark.parametrize("shares", [(2, 2), (3, 5), (16, 16)])
def test_enough_shares_give_the_secret_and_one_less_does_not(tmp_path: Path, shares: tuple[int, int]) -> None:
    office, (needed, _) = Office(tmp_path, shares), shares
    for some in combinations(office.shares, needed):
        assert custodians.combine(some) == office.secret
    for some in combinations(office.shares, needed - 1):
        with pytest.raises(KeyFileError, match=f"{needed - 1} different shares were given; {needed} are needed"):
            custodians.combine(some)


def test_a_share_twice_is_one_share(office: Office) -> None:
    with pytest.raises(KeyFileError, match="1 different shares were given; 2 are needed"):
        office.open(office.shares[0], office.shares[0])


def test_no_share_is_a_sentence(office: Office) -> None:
    with pytest.raises(KeyFileError, match="opens with 2 of its 3 shares: name each with --share"):
        office.open()


def test_shares_of_another_key_do_not_open_it(office: Office, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Office(tmp_path / "other", (2, 3))
    with pytest.raises(KeyFileError, match="is a share of another secret than those before it"):
        office.open(office.shares[0], other.shares[1])
    with pytest.raises(KeyFileError, match="The shares are another file's, or the file was changed"):
        office.open(*other.shares[:2])


def test_shares_for_a_file_with_a_passphrase_are_refused(office: Office, tmp_path: Path) -> None:
    office.root.save(tmp_path / "plain", "correct horse battery", work=QUICK)
    with pytest.raises(KeyFileError, match="opens with a passphrase; there are no shares of it"):
        open_root(tmp_path / "plain", office.shares, {})


WORDS = custodians.split((2, 2))[1][0].split()


@given(at=st.integers(0, len(WORDS) - 1), word=st.sampled_from(["academic", "zero", "typo", ""]))
def test_a_miswritten_word_is_found(at: int, word: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SLIP-39's checksum finds up to three wrong words; and no word of a share is told."""
    assume(word != WORDS[at])
    path = tmp_path_factory.mktemp("s") / "s"
    write_secret(path, " ".join([*WORDS[:at], word, *WORDS[at + 1 :]]).encode())
    with pytest.raises(KeyFileError, match="is not a share, or it is damaged") as told:
        custodians.combine([path])
    assert not {*WORDS, "typo"} & set(re.findall("[a-z]+", str(told.value).replace(str(path), "")))


@pytest.mark.parametrize("raw", [b"", b"\xff\xff", b"x" * 5000])
def test_what_is_no_share_is_named_so(tmp_path: Path, raw: bytes) -> None:
    write_secret(tmp_path / "s", raw)
    with pytest.raises(KeyFileError, match="is not a share"):
        custodians.combine([tmp_path / "s"])


def test_a_share_that_others_may_read_is_refused(office: Office) -> None:
    office.shares[0].chmod(0o644)
    with pytest.raises(KeyFileError, match="mode 0644; 0600 is expected"):
        office.open(*office.shares[:2])


@pytest.mark.parametrize(("text", "shares"), [("2/3", (2, 3)), ("16/16", (16, 16)), ("2/2", (2, 2))])
def test_custodians_are_given_as_needed_of_made(text: str, shares: tuple[int, int]) -> None:
    assert custodians.parse(text) == shares


@pytest.mark.parametrize("text", ["1/1", "1/3", "4/3", "2/17", "0/0", "2", "2/", "a/b", "-2/3", "２/３", "2/3/4"])
def test_custodians_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(Refused, match="custodians"):
        custodians.parse(text)
