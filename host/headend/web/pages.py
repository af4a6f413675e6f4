"""The table of pages: the order of the rows is that of the navigation, what is looked at first before the rest."""

from typing import Any

from headend.web import (
    board_page,
    campaigns_page,
    collection_page,
    configuration_page,
    exceptions_page,
    firmware_page,
    fleet_page,
    signin_page,
    validation_page,
)
from headend.web.desk import Desk
from headend.web.page import Admit, File, Page, Pages, Serve

PAGES: tuple[Page[Any], ...] = (
    board_page.PAGE,
    exceptions_page.PAGE,
    fleet_page.PAGE,
    collection_page.PAGE,
    validation_page.PAGE,
    campaigns_page.PAGE,
    firmware_page.PAGE,
    configuration_page.PAGE,
)
FILES: tuple[File, ...] = (validation_page.FILE, configuration_page.FILE)


def routes(desk: Desk, admit: Admit) -> dict[str, dict[str, Serve]]:
    """Path -> method -> what serves it."""
    served = Pages(desk, admit, PAGES)
    return {
        **{one.path: {"GET": served.page(one)} for one in PAGES},
        **{one.path: {"GET": served.file(one)} for one in FILES},
        **signin_page.SignIn(desk, admit, served).routes(),
    }
