"""The threads that write: whatever is handed in is run, however many hand in what, and nothing urgent waits in vain."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import wait

import pytest

from headend.store.jobs import MONEY, ORDERS, READS, Job, Lane, StoreClosed
from headend.store.writer import More, Writer

REACH = (MONEY, ORDERS, READS, READS)
LONG_S = 60  # by then a thread that was not woken is found out


def run_one(job: Job, _more: More) -> None:
    if job.future.set_running_or_notify_cancel():
        job.value = job.fn(*job.args)
        job.settle()


@pytest.mark.parametrize("seed", range(4))
def test_every_job_is_run_whoever_hands_it_in(seed: int) -> None:
    """Pauses of all lengths between jobs, so that threads fall asleep, wake and find nothing at every moment."""
    writer = Writer(run_one, REACH)
    jobs: list[Job] = []
    kept = threading.Lock()

    def hand_in(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        pause = threading.Event()
        for count in range(300):
            job = Job(lambda what: what, ((number, count),), rng.choice((MONEY, ORDERS, READS)))
            writer.submit(job)
            with kept:
                jobs.append(job)
            if rng.randrange(4) == 0:
                assert job.future.result(LONG_S) == (number, count)
            if rng.randrange(8) == 0:
                pause.wait(rng.random() / 500)

    hands = [threading.Thread(target=hand_in, args=(number,)) for number in range(6)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert not wait([job.future for job in jobs], LONG_S).not_done
    assert len({job.value for job in jobs}) == len(jobs) == 6 * 300
    writer.close()


def test_money_does_not_wait_for_readings() -> None:
    """Every thread that takes readings is busy with one, and more of them wait."""
    let_go = threading.Event()
    writer = Writer(run_one, REACH)
    slow = [_handed(writer, let_go.wait, READS) for _ in range(5)]
    try:
        assert _handed(writer, lambda: "paid", MONEY).future.result(LONG_S) == "paid"
        assert _handed(writer, lambda: "stopped", ORDERS).future.result(LONG_S) == "stopped"
        assert not any(job.future.done() for job in slow)
    finally:
        let_go.set()
    assert all(job.future.result(LONG_S) for job in slow)
    writer.close()


def test_what_was_taken_on_is_finished_before_the_end() -> None:
    writer = Writer(run_one, REACH)
    jobs = [_handed(writer, lambda: "done", READS) for _ in range(200)]
    writer.close()
    assert [job.future.result(0) for job in jobs] == ["done"] * 200
    with pytest.raises(StoreClosed):
        _handed(writer, lambda: "late", MONEY)


def _handed(writer: Writer, fn: Callable[[], object], lane: Lane) -> Job:
    job = Job(fn, (), lane)
    writer.submit(job)
    return job
