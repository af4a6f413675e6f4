"""A store whose process ends right behind the COMMIT of an act: nothing that the act's request does later happens."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, func, select

from headend.store import Store, StoreClosed
from headend.store.schema_access import kept_answer

_KEPT = select(func.count()).select_from(kept_answer)


class Mortal:
    """`until(key)`: it ends behind the write that stores this key. `ended` tells; `revive` starts it again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = ""
        self.ended = False

    def until(self, key: str) -> None:
        self._key = key

    def revive(self) -> None:
        self._key, self.ended = "", False

    def write(self, fn: Callable[..., Any], *args: Any, **how: Any) -> Future[Any]:
        self._alive()
        key, held = self._key, [0]

        def job(conn: Connection, *given: Any) -> Any:
            value = fn(conn, *given)
            held[0] = conn.execute(_KEPT.where(kept_answer.c.key == key)).scalar_one()
            return value

        if not key:
            return self._store.write(fn, *args, **how)
        future: Future[Any] = Future()

        def settle(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None:
                future.set_exception(error)
            else:
                self.ended = self.ended or (bool(held[0]) and self._key == key)  # one that comes late ends nothing
                future.set_result(done.result())

        self._store.write(job, *args, **how).add_done_callback(settle)
        return future

    def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        self._alive()
        return self._store.read(fn, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _alive(self) -> None:
        if self.ended:
            raise StoreClosed("The process has ended.")
