"""``openprepay bench``: choose benchmarks, run them one after the other, print a line a figure."""

import argparse
import importlib
import sys
import time

SECONDS = 8.0

# name -> (module, what it measures), in the order in which they run
BENCHES = {
    "verify": ("ecdsa", "the check of an order's signature on MicroPython"),
    "step": ("step", "one second of the meter's core on MicroPython: time and heap"),
    "boot": ("boot", "the firmware on MicroPython with both links: heap, and size of the image"),
    "stalls": ("stalls", "the longest that a step, a slice or an answer holds everything else up, on MicroPython"),
    "heap32": ("heap32", "heap of a whole meter on words of 32 bits (WebAssembly build)"),
    "full": ("full", "the start of a meter whose flash is full, on MicroPython"),
    "rtu": ("rtu", "Modbus RTU requests a second over a pty to the firmware on MicroPython"),
    "rs485_sweep": ("rs485_sweep", "a day of records of 32 meters on a line of 9 600 baud, beside the wires"),
    "decode": ("decode", "interval records from sealed batches to rows"),
    "ingest": ("ingest", "interval records from the wire into SQLite"),
    "mqtt": ("mqtt", "messages from a broker committed, beside a bare client"),
    "stored": ("stored", "packed days of interval records: bytes each, unpacked, days and months read"),
    "workers": ("workers", "one worker and two on one PostgreSQL and one broker"),
    "payments": ("payments", "payments into SQLite, one by one and in groups"),
    "domain": ("domain", "a payment beside the bare commit that it needs, on SQLite and PostgreSQL"),
    "till": ("till", "payments over HTTP into a head end that serves, on SQLite and PostgreSQL"),
    "mixed": ("mixed", "payments while intervals pour in: how long they take"),
    "restart": ("restart", "a start with a million orders that wait, on SQLite and PostgreSQL"),
    "serve_memory": ("memory", "what a head end takes of RAM in a day of a fleet on a broker"),
    "campaign_10000": ("campaign", "a campaign of 10 000 meters, disconnected by groups, then recalled"),
    "tokens": ("sts", "typed tokens: keys derived, tokens issued, tokens read on MicroPython"),
    "vend": ("vend", "typed tokens sold: payment, number, digits by the signer, all on disk"),
    "keys": ("keys", "a key store in a file and in SoftHSM: meter keys derived, digests signed"),
    "signer": ("signer", "credit orders encoded, signed and logged; the log opened"),
    "chain": ("chain", "sealed books: entries verified by the stand-alone verifier, rows sealed"),
    "judge": ("judge", "days of readings judged, days held for review, estimates beside what was measured"),
    "simulate": ("simulate", "meters in process: days a second, memory each"),
    "fleet": ("fleet", "a fleet: memory of a sleeping meter; a day on a carrier that loses, counted"),
}


def parser() -> argparse.ArgumentParser:
    """The arguments of ``openprepay bench``."""
    top = argparse.ArgumentParser(
        prog="openprepay bench",
        description="Measures, and prints one JSON line a figure: name, value, unit, peer, ratio (value / the peer's). "
        "Progress goes to stderr. What each line means: docs/benchmarks.md.",
        epilog="\n".join(["benchmarks:", *(f"  {name:<9} {about}" for name, (_, about) in BENCHES.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("names", nargs="*", metavar="NAME", help="what to run (default: all)")
    top.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="N", help=f"time for each benchmark (default {SECONDS:g})"
    )
    return top


def main(argv: list[str]) -> int:
    """0 where all ran, 1 where one could not (the others run all the same), 2 for a wrong argument."""
    arguments = parser().parse_args(argv)
    unknown = [name for name in arguments.names if name not in BENCHES]
    if unknown:
        return _wrong(f"there is no benchmark {unknown[0]!r}; expected some of: {', '.join(BENCHES)}")
    if not 0 <= arguments.seconds <= 3600:
        return _wrong(f"--seconds: {arguments.seconds:g} given, 0..3600 expected")
    failed = [name for name in arguments.names or BENCHES if not _run(name, arguments.seconds)]
    if failed:
        _say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _run(name: str, seconds: float) -> bool:
    """Run one benchmark; whether it went through."""
    module, about = BENCHES[name]
    _say(f"{name}: {about} …")
    start = time.monotonic()
    try:
        for figure in importlib.import_module(f"openprepay.bench.{module}").run(seconds):
            print(figure.line(), flush=True)
    except ModuleNotFoundError as missing:
        _say(f"{name}: needs the module {missing.name}; pip install 'openprepay[simulator,bench]' brings it")
        return False
    except (RuntimeError, OSError) as error:
        _say(f"{name}: {error}")
        return False
    _say(f"{name}: done in {time.monotonic() - start:.1f} s")
    return True


def _wrong(sentence: str) -> int:
    _say(sentence)
    return 2


def _say(sentence: str) -> None:
    print(f"openprepay bench: {sentence}", file=sys.stderr, flush=True)
