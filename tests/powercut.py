"""Cuts the power at every single flash operation of a workload, in every way of tearing it. Runs on both interpreters.

`sweep` runs the workload once. Before each flash operation it takes the image, and for each way of tearing lets that
operation happen in part on a second flash, gives the power back and hands that flash to `boot_and_check`: so n
operations cost n boots per way of tearing, not n runs of the workload. What the workload had been promised so far is
known to whoever wrote it: keep it where `boot_and_check` sees it (promised before the operation, and under way).

For cuts during recovery, `boot_and_check` calls `sweep` again on the flash that it is given.
"""

from metersim.flash import TORN, PowerCut


class Swept:
    """operations: of the workload · cuts: boots after a cut, of which there are operations · len(torn)."""

    def __init__(self) -> None:
        self.operations = 0
        self.cuts = 0


def sweep(flash, workload, boot_and_check, torn=TORN):
    """Run `workload(flash)`; `boot_and_check(flash_after_a_cut)` for each operation and way of tearing, and at its end.

    flash: a NorFlash. A failure in `boot_and_check` goes through after one line that says which cut it was.
    """
    swept = Swept()
    trial = flash.fork()

    def watch(block, offset, data):
        swept.operations += 1
        before = flash.snapshot()
        for how in torn:
            trial.restore(before)
            _cut(trial, block, offset, data, how)
            try:
                boot_and_check(trial)
            except BaseException:
                what = "erase of" if data is None else f"program of {len(data)} bytes in"
                print(f"cut at operation {flash.ops + 1} torn {how}: {what} sector {block} offset {offset}")
                raise
            swept.cuts += 1

    flash.watch = watch
    try:
        workload(flash)
    finally:
        flash.watch = None
    trial.restore(flash.snapshot())
    boot_and_check(trial)
    assert swept.cuts == swept.operations * len(torn)
    return swept


def _cut(trial, block, offset, data, how):
    """Do one operation on `trial` as far as `how` says, and switch it on again."""
    trial.cut_at(trial.ops + 1, how)
    try:
        if data is None:
            trial.ioctl(6, block)
        else:
            trial.writeblocks(block, data, offset)
    except PowerCut:
        trial.power_on()
        return
    raise AssertionError("the power was not cut")
