"""The OpenAPI document: valid, complete, served, and the same as the one in docs/."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from starlette.routing import Match, Route

from headend.web import openapi
from headend.web.api import OPERATIONS, PREFIX
from headend.web.app import build_app
from headend.web.operations import Operation
from headend.web.problems import CODES
from tests.host.site import API, Site

ROOT = Path(__file__).resolve().parents[2]


Routes = list[Route]


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Routes:
    site = Site(tmp_path_factory.mktemp("site"))
    found = [route for route in build_app(site.desk).routes if isinstance(route, Route)]
    site.close()
    return found


def test_it_is_valid_openapi_3_1() -> None:
    document = openapi.document()
    assert document["openapi"].startswith("3.1.")
    validate(document, cls=OpenAPIV31SpecValidator)


def test_every_operation_is_told_with_its_scope_and_answers() -> None:
    document = openapi.document()
    listed = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(one.method.lower(), PREFIX + one.path) for one in OPERATIONS}
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)
    for one in OPERATIONS:
        told = document["paths"][PREFIX + one.path][one.method.lower()]
        assert told["summary"] and told["description"]
        assert told["security"] == ([{"token": [one.scope]}, {"session": [one.scope]}] if one.scope else [])
        assert {str(status) for status in one.answers} <= set(told["responses"])
        assert all(code in CODES for code in one.problems)
        assert [part["name"] for part in told["parameters"] if part["in"] == "path"] == [
            part[1:-1] for part in one.path.split("/") if part.startswith("{")
        ]


def test_a_schema_is_named_for_what_it_is_wherever_its_class_stands() -> None:
    assert [name for name in openapi.document()["components"]["schemas"] if not name.isalnum()] == []


def test_the_one_in_docs_is_what_the_sources_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "gen_openapi.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_an_operation_is_reached_at_its_path_whatever_stands_beside_it(
    one: Operation[Any, Any], routes: Routes
) -> None:
    """`/tokens/batch` is no token."""
    asked = {"type": "http", "method": one.method, "path": PREFIX + re.sub(r"{\w+}", "17", one.path)}
    reached = next(route.path for route in routes if route.matches(asked)[0] is Match.FULL)
    assert reached.replace(":whole", "") == PREFIX + one.path


def test_it_is_served_to_everyone(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        answer = site.client(None).get(f"{API}/openapi.json")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.content == openapi.encoded()
