"""Runs the tests of one file on MicroPython: `micropython tests/upy.py FILE [FUNCTION]`.

FILE is a test_both_*.py: plain functions `test_*` with `assert`, importing only what MicroPython has. One line is
printed for each function; the exit code is 0 only when at least one ran and none failed.
"""

import gc
import sys


def main(argv):
    root = argv[0].rsplit("/", 2)[0] if argv[0].count("/") > 1 else "."
    folder, _, name = argv[1].rpartition("/")
    sys.path[:0] = [root + "/protocol", root + "/firmware", root + "/simulator", root, folder or "."]
    module = __import__(name[:-3] if name.endswith(".py") else name)
    wanted = argv[2:] or sorted(name for name in dir(module) if name.startswith("test_"))
    failed = 0
    for name in wanted:
        gc.collect()
        try:
            getattr(module, name)()
            print("ok    ", name)
        except Exception as error:
            failed += 1
            print("FAILED", name)
            sys.print_exception(error)
    print(len(wanted) - failed, "passed,", failed, "failed")
    return 0 if wanted and not failed else 1


sys.exit(main(sys.argv))
