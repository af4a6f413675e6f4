"""What all pages share: their templates, one style within each page, and headers that let nothing else in."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2

from headend import language as texts

_SELF, _NONE = "'self'", "'none'"
_FOLDER = Path(__file__).parent / "templates"


class Rendering:
    """The templates with their style, read once."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._style = (_FOLDER / "pages.css").read_text(encoding="utf-8")
        self._digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()

    def render(self, template: str, **values: Any) -> str:
        """One page; its style goes with it."""
        return self._environment.get_template(template).render(style=self._style, **values)

    def headers(self, language: str, *, forms: bool = False) -> dict[str, str]:
        """Headers of a page in this language; `forms`: it sends one to us."""
        policy = (
            f"default-src 'none'; style-src 'sha256-{self._digest}'; img-src data:; "
            f"base-uri 'none'; form-action {_SELF if forms else _NONE}; frame-ancestors 'none'"
        )
        return {
            "Cache-Control": "no-store",
            "Content-Language": "zh-CN" if language == texts.CHINESE else "en",
            "Content-Security-Policy": policy,
            "Referrer-Policy": "same-origin",  # with less, browsers send our own forms with "Origin: null"
            "Vary": "Accept-Language, Authorization, Cookie",
            "X-Content-Type-Options": "nosniff",
        }
