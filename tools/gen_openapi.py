"""Writes docs/openapi.json from the API's table of operations: ``gen_openapi.py [--check]``.

With --check nothing is written; exit code 1 tells that the file is not what the sources say.
"""

import sys
from pathlib import Path

from headend.web import openapi

FILE = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


def main(argv: list[str]) -> int:
    """0 when the file is up to date, or was written."""
    made = openapi.encoded()
    if FILE.exists() and FILE.read_bytes() == made:
        return 0
    if "--check" in argv:
        print(f"{FILE.name} is not what the sources say; run: python tools/gen_openapi.py", file=sys.stderr)
        return 1
    FILE.write_bytes(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
