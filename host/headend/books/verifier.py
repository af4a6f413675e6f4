"""Verifies sealed books against signed heads. One file, Python 3.11 or newer, nothing else: it may be copied anywhere.

    python verify.py --head 2026-11-22.head [--head …] --export books.jsonl [--key HEX]
    python verify.py --head 2026-11-22.head --database openprepay.sqlite

It says in a sentence what is wrong, with the row. Exit code 0: the books are what they were when the heads were signed;
1: they are not; 2: wrong command line; 3: something cannot be read.

Formats (docs/books.md has them byte by byte). Head file: line 1 is the head, JSON in ASCII, signed as it stands; line 2
is JSON with `key` (X||Y of a point on P-256 in hexadecimal digits) and `signature` (r||s) by ECDSA over
SHA-256("openprepay books head 1\\n" + SHA-256(line 1)). Export: a line {"format": 1, "origin": …}, then for each row in
the order of sealing [chain, seq, hash, [columns]], for each row that is not sealed [chain, null, null, [columns]], and
for each seal whose row is gone [chain, seq, hash, null]. A chain begins with SHA-256("openprepay chain 1:<chain>:
<origin>"); each hash is SHA-256(the one before + columns as netstrings, "-," for none).
"""

import argparse
import hashlib
import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

SLACK_S = 3600  # a row may be this much older than the head behind which it is sealed
MOST = 20  # sentences

# Chain -> its columns, the place of what its sums go by, the place of the amount.
CHAINS: dict[str, tuple[tuple[str, ...], int, int | None]] = {
    "entry": (("id", "at_s", "kind", "debit", "credit", "amount_uc", "meter", "cause"), 2, 5),
    "audit": (("id", "at_s", "actor", "action", "subject", "detail"), 3, None),
}
_AT_S = 1

# Chain, number, hash, columns; a row that is not sealed has neither number nor hash, a seal without its row no columns.
Row = tuple[str, int | None, bytes | None, Sequence[Any] | None]


class Unreadable(Exception):
    """A file that cannot be used; the text says which and why."""


class Head(NamedTuple):
    """A head file; `signed_by`: fingerprint of the key that verified it."""

    name: str
    stated: dict[str, Any]
    signed_by: str


# --- P-256 (SEC 2, 2.4.2), and ECDSA verification (FIPS 186-5, 6.4.2) -------------------------------------------------

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int] | None  # None: the point at infinity


def _add(p: Point, q: Point) -> Point:
    if p is None or q is None:
        return p or q
    if p[0] == q[0]:
        if (p[1] + q[1]) % _P == 0:
            return None
        slope = (3 * p[0] * p[0] - 3) * pow(2 * p[1], -1, _P)
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, _P)
    x = (slope * slope - p[0] - q[0]) % _P
    return x, (slope * (p[0] - x) - p[1]) % _P


def _times(k: int, point: Point) -> Point:
    total: Point = None
    while k:
        if k & 1:
            total = _add(total, point)
        point, k = _add(point, point), k >> 1
    return total


def verify_signature(public: bytes, digest: bytes, signature: bytes) -> bool:
    """ECDSA P-256: `public` X||Y, `digest` 32 bytes, `signature` r||s."""
    if len(public) != 64 or len(signature) != 64 or len(digest) != 32:
        return False
    x, y = int.from_bytes(public[:32], "big"), int.from_bytes(public[32:], "big")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if x >= _P or y >= _P or (y * y - x * x * x + 3 * x - _B) % _P:
        return False
    if not (0 < r < _N and 0 < s < _N):
        return False
    w = pow(s, -1, _N)
    u, v = int.from_bytes(digest, "big") * w % _N, r * w % _N
    point = _add(_times(u, _G), _times(v, (x, y)))
    return point is not None and point[0] % _N == r


def head_digest(line: bytes) -> bytes:
    """What a head's signature is made over."""
    return hashlib.sha256(b"openprepay books head 1\n" + hashlib.sha256(line).digest()).digest()


def fingerprint(public: bytes) -> str:
    """The first 16 hexadecimal digits of SHA-256 over a public key, for people to compare."""
    return hashlib.sha256(public).hexdigest()[:16]


def read_head(name: str, raw: bytes, keys: Sequence[bytes] = ()) -> Head:
    """A head whose signature is right, by one of `keys`, or where none is given by the key in it. Raises Unreadable."""
    lines = raw.split(b"\n")
    try:
        stated, proof = json.loads(lines[0]), json.loads(lines[1])
        public, signature = bytes.fromhex(proof["key"]), bytes.fromhex(proof["signature"])
        for chain in CHAINS:
            _ = stated["chains"][chain]["seq"] + stated["made_s"], stated["chains"][chain]["hash"], stated["origin"]
            _ = [(sums["counted"], sums["amount_uc"]) for sums in stated["chains"][chain]["sums"].values()]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Unreadable(f"{name} is not a head file: {error!r}.") from error
    if keys and public not in keys:
        known = ", ".join(map(fingerprint, keys))
        raise Unreadable(f"{name} is signed by key {fingerprint(public)}; {known} expected.")
    if not verify_signature(public, head_digest(lines[0]), signature):
        raise Unreadable(f"{name} is not what was signed: its signature is wrong.")
    return Head(name, stated, fingerprint(public))


# --- the chains -------------------------------------------------------------------------------------------------------


def row_bytes(row: Sequence[Any]) -> bytes:
    """The bytes of a row that are hashed."""
    line = "".join(["-," if value is None else f"{len(text := str(value))}:{text}," for value in row])
    if line.isascii():  # then a character is a byte
        return line.encode()
    raws = [None if value is None else str(value).encode() for value in row]
    return b"".join([b"-," if raw is None else b"%d:%b," % (len(raw), raw) for raw in raws])


class _Walk:
    """One chain, row by row; `wrong`: what was found, a sentence each."""

    def __init__(self, chain: str, origin: str, heads: Sequence[Head]) -> None:
        self.chain = chain
        self.columns, self._kind, self._amount = CHAINS[chain]
        self.wrong: list[str] = []
        self.seq = 0
        self.last = hashlib.sha256(f"openprepay chain 1:{chain}:{origin}".encode()).digest()
        self.sums: dict[str, list[int]] = {}
        self.balances: dict[str, int] = {}
        self.unsealed = 0
        self._heads: dict[int, list[Head]] = {}
        for head in heads:
            self._heads.setdefault(head.stated["chains"][chain]["seq"], []).append(head)
        self._covered_s = 0  # rows behind a head are not older than that, but for SLACK_S
        for head in self._heads.pop(0, ()):
            self._cover(head)

    def step(self, seq: int | None, told: bytes | None, row: Sequence[Any] | None) -> None:
        """Take the next row."""
        if seq is None or told is None:
            self._left_over(row)
            return
        if seq != self.seq + 1:
            self._say(f"number {self.seq + 1} is missing, {seq} comes next.")
        self.seq = seq
        if row is None:
            self._say(f"number {seq} is sealed and its row is gone.")
        else:
            if hashlib.sha256(self.last + row_bytes(row)).digest() != told:
                self._say(f"row {row[0]} and seal {seq} are not of each other: {self._shown(row)}.")
            self._count(row)
            if row[_AT_S] < self._covered_s:
                self._say(f"row {row[0]} {_OLD}, and is sealed as number {seq}, behind that head.")
        self.last = told
        if seq in self._heads:
            for head in self._heads.pop(seq):
                self._hold(head)

    def end(self) -> None:
        """No row is left."""
        for seq, heads in sorted(self._heads.items()):
            for head in heads:
                self._say(f"{head.name} was signed at number {seq}; the chain ends at {self.seq}.")
        left_uc = sum(self.balances.values())
        if left_uc:
            self._say(f"all balances come to {left_uc}, and not to 0.")

    def _left_over(self, row: Sequence[Any] | None) -> None:
        """A row that is not sealed; those come behind all that are."""
        self.unsealed += 1
        for heads in self._heads.values():
            for head in heads:
                self._cover(head)
        if row is not None and row[_AT_S] < self._covered_s:
            self._say(f"row {row[0]} {_OLD}, and is not sealed.")

    def _hold(self, head: Head) -> None:
        stated = head.stated["chains"][self.chain]
        self._cover(head)
        if stated["hash"] != self.last.hex():
            self._say(f"number {self.seq} is not what {head.name} was signed for: the chain is another.")
        counted = {kind: [sums["counted"], sums["amount_uc"]] for kind, sums in stated["sums"].items()}
        for kind in sorted(counted.keys() | self.sums.keys()):
            was, found = counted.get(kind, [0, 0]), self.sums.get(kind, [0, 0])
            if was != found:
                self._say(
                    f"by {head.name} there are {was[0]} rows of kind {kind} that come to {was[1]}; "
                    f"here are {found[0]} that come to {found[1]}."
                )

    def _count(self, row: Sequence[Any]) -> None:
        sums = self.sums.get(row[self._kind])
        if sums is None:
            sums = self.sums[row[self._kind]] = [0, 0]
        sums[0] += 1
        if self._amount is None:
            return
        debit, credit, amount_uc = row[3], row[4], row[5]
        if type(amount_uc) is not int or amount_uc <= 0 or debit == credit:
            self._say(f"row {row[0]} moves nothing from one account to another: {self._shown(row)}.")
            return
        sums[1] += amount_uc
        balances = self.balances
        balances[debit] = balances.get(debit, 0) - amount_uc
        balances[credit] = balances.get(credit, 0) + amount_uc

    def _cover(self, head: Head) -> None:
        self._covered_s = max(self._covered_s, head.stated["made_s"] - SLACK_S)

    def _shown(self, row: Sequence[Any]) -> str:
        return ", ".join(f"{name} {value}" for name, value in zip(self.columns, row, strict=False))

    def _say(self, text: str) -> None:
        self.wrong.append(f"{self.chain}: {text}")


_OLD = "says it is older than a head that does not cover it"


class Verdict(NamedTuple):
    """`wrong`: sentences, none where all is well · by chain how many rows are sealed, and how many are not yet."""

    wrong: list[str]
    sealed: dict[str, int]
    unsealed: dict[str, int]


def verify(origin: str, rows: Iterable[Row], heads: Sequence[Head]) -> Verdict:
    """Hold rows, each chain by rising number, against heads; at most `MOST` sentences."""
    others = [head for head in heads if head.stated["origin"] != origin]
    wrong = [f"{head.name} is of database {head.stated['origin']}, the books are of {origin}." for head in others]
    walks = {chain: _Walk(chain, origin, heads) for chain in CHAINS}
    for chain, seq, told, row in rows:
        walk = walks[chain]
        walk.step(seq, told, row)
        if len(walk.wrong) >= MOST:
            break
    else:
        for walk in walks.values():
            walk.end()
    for walk in walks.values():
        wrong += walk.wrong
    sealed = {chain: walk.seq for chain, walk in walks.items()}
    return Verdict(wrong[:MOST], sealed, {chain: walk.unsealed for chain, walk in walks.items()})


# --- where rows come from ---------------------------------------------------------------------------------------------


def from_export(path: str) -> tuple[str, Iterator[Row]]:
    """(origin, rows) of an exported file. Raises Unreadable, also while the rows are read."""
    try:
        file = open(path, encoding="utf-8")
        origin = str(json.loads(file.readline())["origin"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Unreadable(f"{path} is not an export of books: {error!r}.") from error
    return origin, _lines(path, file)


def _lines(path: str, file: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(file, 2):
        try:
            chain, seq, told, row = json.loads(line)
            if row is not None and len(row) != len(CHAINS[chain][0]):
                raise ValueError(f"{len(row)} columns")
            hashed = None if told is None else bytes.fromhex(told)
        except (ValueError, TypeError, LookupError) as error:
            raise Unreadable(f"{path}: line {number} is not a row: {error!r}.") from error
        yield chain, seq, hashed, row


_SEALED = (
    "SELECT s.seq, s.hash, {columns} FROM seal s LEFT JOIN {table} r ON r.id = s.row_id "
    "WHERE s.chain = ? ORDER BY s.seq"
)
_LEFT = (
    "SELECT {columns} FROM {table} r "
    "WHERE NOT EXISTS (SELECT 1 FROM seal s WHERE s.chain = ? AND s.row_id = r.id) ORDER BY r.id"
)


def from_sqlite(path: str) -> tuple[str, Iterator[Row]]:
    """(origin, rows) of a SQLite database, which is only read. Raises Unreadable."""
    path = path.removeprefix("sqlite:///")
    try:
        conn = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        conn.execute("BEGIN")
        (origin,) = conn.execute("SELECT max(origin) FROM seal_chain").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise Unreadable(f"{path} is not a database with sealed books: {error}.") from error
    return origin, _rows(path, conn)


def _rows(path: str, conn: sqlite3.Connection) -> Iterator[Row]:
    with closing(conn):
        try:
            for chain, (columns, _, _) in CHAINS.items():
                listed = ", ".join(f"r.{name}" for name in columns)
                for seq, told, *row in conn.execute(_SEALED.format(columns=listed, table=chain), (chain,)):
                    yield chain, seq, told, None if row[0] is None else row
                for unsealed in conn.execute(_LEFT.format(columns=listed, table=chain), (chain,)):
                    yield chain, None, None, unsealed
        except sqlite3.Error as error:
            raise Unreadable(f"{path} cannot be read to its end: {error}.") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="verify", description="Verify sealed books against signed heads.")
    parser.add_argument("--head", action="append", required=True, help="a head file; may be given several times")
    parser.add_argument("--key", action="append", default=[], help="a public key that signs heads: 128 hex digits")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--export", help="a file that `openprepay ledger export` wrote")
    where.add_argument("--database", help="a SQLite database")
    given = parser.parse_args(argv)
    try:
        keys = [key_of(text) for text in given.key]
        source = from_export(given.export) if given.export else from_sqlite(given.database)
        return run(given.head, keys, *source)
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 3


def run(paths: Sequence[str], keys: Sequence[bytes], origin: str, rows: Iterable[Row]) -> int:
    """Verify and say so; the exit code. Raises Unreadable."""
    heads = [read_head(path, _read(path), keys) for path in paths]
    verdict = verify(origin, rows, heads)
    for text in verdict.wrong:
        print(text)
    if verdict.wrong:
        print("The books are not what was signed.")
        return 1
    for head in heads:
        told = "" if keys else " (compare that fingerprint with the utility's: no --key was given)"
        print(f"{head.name}: day {head.stated['day']}, signed by key {head.signed_by}{told}.")
    for chain in CHAINS:
        print(f"{chain}: {verdict.sealed[chain]} rows as they were sealed, {verdict.unsealed[chain]} not sealed yet.")
    print("The books sum to zero and are what was signed.")
    return 0


def key_of(text: str) -> bytes:
    """A public key given in hexadecimal digits. Raises Unreadable."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 64:
        raise Unreadable(f"--key: {text!r} given, 128 hexadecimal digits expected.")
    return key


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}.") from error


if __name__ == "__main__":
    sys.exit(main())
