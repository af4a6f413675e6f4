"""Whatever is added, moved, placed, exchanged and taken away, and wherever a move is cut off: the area of a meter is
the path of the node that it stands at, no two meters stand at one supply point, and no history overlaps.

The model is said apart from the code: nodes by parent and code, places by meter.
"""

import itertools
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from headend.fleet import grid, life, lifecycle, placement, points
from headend.fleet.meters import add_meter
from headend.fleet.placement import Place
from headend.refusals import Refused
from headend.store.schema import meter
from headend.store.schema_fleet import grid_node, meter_life
from tests.host.books import NOW_S, open_books, record

ACTOR = "user:engineer"
METERS = (17, 18, 19, 20, 21)
CODES = st.sampled_from(("a", "b", "c"))
POINTS = ("P-1", "P-2", "P-3")
# A failing run is not made shorter: that takes minutes, and the seed is printed.
_MANY: dict[str, Any] = {"deadline": None, "phases": [Phase.generate], "print_blob": True}


class Fleet(RuleBasedStateMachine):
    url = ""

    @initialize()
    def begin(self) -> None:
        self.store = open_books(self.url, METERS, inline=True)
        self.now_s = NOW_S
        self.nodes: dict[int, tuple[str, int | None, str]] = {}
        self.points: dict[str, int] = {}
        self.places: dict[int, tuple[str, Any]] = {}
        self.lives = dict.fromkeys(METERS, "in_stock")
        self.next_meter = 30

    def teardown(self) -> None:
        if hasattr(self, "store"):
            while self.store.write(grid.go_on, self.now_s).result():
                pass
            self.whole()
            self.store.close()

    def act(self, fn: Any, *arguments: Any, **options: Any) -> Any:
        """What it returns, or the refusal."""
        self.now_s += 1
        try:
            return self.store.write(lambda conn: fn(conn, self.now_s, *arguments, **options)).result()
        except Refused as refused:
            return refused

    def path(self, node: int) -> str:
        _, parent, code = self.nodes[node]
        return code if parent is None else f"{self.path(parent)}/{code}"

    def of_kind(self, kind: str) -> list[int]:
        return [node for node, (one, _, _) in self.nodes.items() if one == kind]

    def moving(self) -> bool:
        return self.store.read(grid.moving) is not None

    # --- what people do -----------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(grid.KINDS), code=CODES, data=st.data())
    def add_node(self, kind: str, code: str, data: st.DataObject) -> None:
        above = grid.PARENT[kind]
        if above and not self.of_kind(above):
            return
        parent = data.draw(st.sampled_from(self.of_kind(above))) if above else None
        made = self.act(grid.add, kind, parent, code, ("", ""), ACTOR)
        taken = (kind, parent, code) in self.nodes.values()
        if isinstance(made, Refused):
            assert taken or self.moving()
        else:
            assert not taken
            self.nodes[made] = kind, parent, code

    @precondition(lambda self: self.of_kind("feeder"))
    @rule(code=CODES, data=st.data())
    def move(self, code: str, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(list(self.nodes)))
        kind, before, old_code = self.nodes[node]
        above = self.of_kind(grid.PARENT[kind])
        parent = data.draw(st.sampled_from(above)) if above else None
        moved = self.act(grid.move, node, parent, code, ACTOR)
        if isinstance(moved, Refused):
            others = [one for other, one in self.nodes.items() if other != node]
            assert (kind, parent, code) in others or self.moving()
        else:
            self.nodes[node] = kind, parent, code
            assert moved == (kind != "transformer" and any(one[1] == node for one in self.nodes.values())) or (
                (before, old_code) == (parent, code)
            )

    @precondition(lambda self: self.moving())
    @rule()
    def go_on(self) -> None:
        self.act(grid.go_on)

    @precondition(lambda self: self.of_kind("transformer"))
    @rule(code=st.sampled_from(POINTS), data=st.data())
    def put_point(self, code: str, data: st.DataObject) -> None:
        transformer = data.draw(st.sampled_from(self.of_kind("transformer")))
        if code in self.points:
            changed = self.act(
                points.change, code, transformer, ACTOR, phases=1, limit_w=0, households=data.draw(st.integers(1, 99))
            )
            assert isinstance(changed, bool)
        else:
            assert self.act(points.add, code, transformer, ACTOR) is None
        self.points[code] = transformer

    def place(self, data: st.DataObject) -> tuple[str, Any] | None:
        choices = [("point", code) for code in self.points] + [("node", node) for node in self.nodes]
        return data.draw(st.sampled_from(choices)) if choices else None

    @precondition(lambda self: self.nodes)
    @rule(number=st.sampled_from(METERS), data=st.data())
    def put_meter(self, number: int, data: st.DataObject) -> None:
        where = self.place(data)
        assert where is not None
        place = Place(supply_point=where[1]) if where[0] == "point" else Place(node=where[1])
        state = self.lives[number]
        taken = where[0] == "point" and any(one == where and other != number for other, one in self.places.items())
        if state == "commissioned":
            if where == self.places[number]:
                return
            done = self.act(life.relocate, number, place, ACTOR)
            allowed = not taken
        else:
            done = self.act(life.commission, number, place, ACTOR)
            allowed = not taken and state in ("in_stock", "removed")
        assert isinstance(done, Refused) != allowed, done
        if allowed:
            self.places[number], self.lives[number] = where, "commissioned"

    @rule(old=st.sampled_from(METERS))
    def exchange(self, old: int) -> None:
        """For a new meter of the store room; it leaves again when its turn comes, so that numbers stay few."""
        new, self.next_meter = self.next_meter, self.next_meter + 1
        self.store.write(add_meter, self.now_s, record(new)).result()
        done = self.act(life.exchange, old, new, ACTOR)
        allowed = self.lives[old] in ("in_stock", "commissioned")
        assert isinstance(done, Refused) != allowed, done
        self.lives[new] = "commissioned" if allowed else "in_stock"
        if allowed:
            self.lives[old] = "removed"
            where = self.places.pop(old, None)
            if where is not None:
                self.places[new] = where

    @rule(number=st.sampled_from(METERS), event=st.sampled_from(("remove", "retire")))
    def take_away(self, number: int, event: str) -> None:
        done = self.act(getattr(life, event), number, ACTOR)
        state = lifecycle.TABLE.get((self.lives[number], event))
        assert isinstance(done, Refused) == (state is None), done
        if state is not None:
            self.lives[number] = state
            self.places.pop(number, None)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(list(self.nodes)))
        used = (
            any(parent == node for _, parent, _ in self.nodes.values())
            or node in self.points.values()
            or ("node", node) in self.places.values()
        )
        assert isinstance(self.act(grid.end, node, ACTOR), Refused) == used
        if not used:
            del self.nodes[node]

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def areas_are_paths(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.read(grid.misplaced) == []
        if not self.moving():
            self.whole()

    @invariant()
    def lives_and_places_are_as_told(self) -> None:
        if not hasattr(self, "store"):
            return
        lives = self.store.read(lambda conn: conn.execute(select(meter_life.c.meter, meter_life.c.state)).all())
        assert dict(map(tuple, lives)) == self.lives
        for number in self.lives:
            rows = self.store.read(placement.history, number)
            assert all(early.until_s <= late.since_s for early, late in itertools.pairwise(rows))
            standing = [("point", row.supply_point) if row.node is None else ("node", row.node) for row in rows[-1:]]
            assert (standing if rows and rows[-1].until_s is None else []) == (
                [self.places[number]] if number in self.places else []
            )

    def whole(self) -> None:
        """With no move under way each node has the path that its parents give, and each meter that of its node."""
        live = select(grid_node.c.id, grid_node.c.path).where(grid_node.c.ended_s.is_(None))
        paths = dict(map(tuple, self.store.read(lambda conn: conn.execute(live).all())))
        assert paths == {node: self.path(node) for node in self.nodes}
        areas = dict(map(tuple, self.store.read(lambda conn: conn.execute(select(meter.c.meter, meter.c.area)).all())))
        for number, (kind, at) in self.places.items():
            assert areas[number] == self.path(at if kind == "node" else self.points[at])


def run(url: str, **options: Any) -> None:
    chosen: Any = type("Chosen", (Fleet,), {"url": url})
    run_state_machine_as_test(chosen, settings=settings(**_MANY, **options))


def test_a_fleet_on_sqlite() -> None:
    run("sqlite://", max_examples=6, stateful_step_count=30)


def test_a_fleet_on_postgresql() -> None:
    from tests import postgres

    class OnPostgres(Fleet):
        @initialize()
        def begin(self) -> None:
            type(self).url = self.made = postgres.server().database()
            super().begin()

        def teardown(self) -> None:
            super().teardown()
            postgres.server().drop(self.made)

    few = settings(max_examples=2, stateful_step_count=25, **_MANY)
    run_state_machine_as_test(OnPostgres, settings=few)  # type: ignore[no-untyped-call]
