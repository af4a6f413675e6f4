"""Checks the proofs of a demo's trace once more, with Python's standard library alone: python recheck.py var/demo"""

import hashlib
import hmac
import json
import sys
from pathlib import Path

KINDS = {"confirmed": 1, "receipt": 2}  # byte 1 of a report


def main(folder: Path) -> int:
    keys, checked = json.loads((folder / "keys.json").read_text()), 0
    for number, line in enumerate((folder / "trace.jsonl").read_text(encoding="utf-8").splitlines(), 1):
        fact = json.loads(line)
        if fact["kind"] not in KINDS:
            continue
        raw = bytes.fromhex(fact["report"])  # payload 206, MAC 16; kind at 1, meter at 2..7, nonce at 18..25
        mac = hmac.new(bytes.fromhex(keys[fact["meter"]]), b"OP1R" + raw[:206], hashlib.sha256).digest()[:16]
        said = (len(raw), raw[1], int.from_bytes(raw[2:8], "big"), raw[18:26].hex())
        if not hmac.compare_digest(mac, raw[206:]) or said != (
            222, KINDS[fact["kind"]], int(fact["meter"]), fact.get("nonce", "00" * 8)
        ):  # fmt: skip
            print(f"line {number}: the report does not prove it: {fact['fact']}")
            return 1
        checked += 1
    print(f"{checked} reports and receipts are genuine, and of the meters that the trace names.")
    return 0 if checked else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
