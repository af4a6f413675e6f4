"""`/metrics`: what Prometheus reads, with the token of a channel that may read."""

from collections.abc import Mapping

from starlette.responses import Response

from headend.watch.metrics import CONTENT_TYPE
from headend.web.desk import Desk
from headend.web.problems import Problem

PATH = "/metrics"


async def page(desk: Desk, headers: Mapping[str, str]) -> Response:
    """All figures, made in a thread of the desk."""
    if desk.metrics is None:
        raise Problem("no_such_path", "No figures are kept here.")
    text = await desk.in_thread(desk.metrics.text, desk.clock.now_s())
    return Response(text, 200, headers, media_type=CONTENT_TYPE)
