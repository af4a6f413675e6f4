"""Labels for meters, to be printed and stuck on: number, PAN, and a QR code with both. No secret is in them.

The QR code holds `OPENPREPAY:1:<meter, at least 12 digits>`, and with a PAN `:<PAN, 18 digits>` behind it: characters
of QR's alphanumeric mode, at error correction level M (ISO/IEC 18004), so that a scratched label still reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import segno

from meterlink import topics

WIDTH_MM, HEIGHT_MM = 60, 30
COLUMNS, ROWS = 3, 9  # of a sheet of A4, with margins of 10 mm and more
_QUIET = 4  # modules of white around the code
_QR_MM = 28
_FONT = "'Noto Sans', 'Noto Sans CJK SC', 'Microsoft YaHei', 'PingFang SC', Arial, sans-serif"
_BENCH = "BENCH 试验"


@dataclass(frozen=True)
class Label:
    """meter: its number · pan: 18 digits, or "" where the meter takes no typed tokens · bench: it has bench keys."""

    meter: int
    pan: str = ""
    bench: bool = False

    def qr_text(self) -> str:
        """What the code says."""
        text = f"OPENPREPAY:1:{topics.meter_name(self.meter)}"
        return f"{text}:{self.pan}" if self.pan else text


def svg(label: Label) -> str:
    """One label of 60 x 30 mm, as a document of its own."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_drawing(label)}\n'


def sheet(labels: Sequence[Label]) -> str:
    """A page for printing: as many sheets of A4 as it takes, 3 x 9 labels each."""
    size = COLUMNS * ROWS
    pages = [labels[at : at + size] for at in range(0, len(labels), size)]
    drawn = ["\n".join(map(_drawing, page)) for page in pages]
    body = "\n".join(f'<section class="page">\n{page}\n</section>' for page in drawn)
    return _PAGE.format(style=_STYLE, body=body)


_STYLE = f"""@page {{ size: A4; margin: 10mm 15mm; }}
body {{ margin: 0; background: #fff; }}
.page {{ display: grid; grid-template-columns: repeat({COLUMNS}, {WIDTH_MM}mm); grid-auto-rows: {HEIGHT_MM}mm;
  width: {COLUMNS * WIDTH_MM}mm; break-after: page; }}
.page:last-child {{ break-after: auto; }}
.page svg {{ display: block; outline: 0.1mm dotted #999; outline-offset: -0.05mm; }}
@media screen {{ .page {{ margin: 10mm auto; }} }}"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Meter labels · 电表标签</title>
<style>
{style}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def _drawing(label: Label) -> str:
    code = segno.make_qr(label.qr_text(), error="m", boost_error=False)
    modules = len(code.matrix) + 2 * _QUIET
    dark = "".join(
        f"M{x + _QUIET} {y + _QUIET}h1v1h-1z" for y, row in enumerate(code.matrix) for x, bit in enumerate(row) if bit
    )
    number = topics.meter_name(label.meter)
    lines = [
        _text(4.6, 2.1, "Prepayment meter 预付费电表"),
        _text(10.2, 2.2, "Meter No. 表号"),
        _text(14.0, 3.5, number, bold=True),
    ]
    if label.pan:
        spaced = f"{label.pan[:6]} {label.pan[6:10]} {label.pan[10:14]} {label.pan[14:]}"
        lines += [_text(19.6, 2.2, "PAN 购电编号"), _text(22.8, 2.3, spaced, bold=True)]
    if label.bench:
        lines.append(_text(27.6, 3.0, _BENCH, bold=True))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_MM}mm" height="{HEIGHT_MM}mm"'
        f' viewBox="0 0 {WIDTH_MM} {HEIGHT_MM}" role="img" aria-label="{escape(number)}">'
        f'<rect width="{WIDTH_MM}" height="{HEIGHT_MM}" fill="#fff"/>'
        f'<svg x="1" y="1" width="{_QR_MM}" height="{_QR_MM}" viewBox="0 0 {modules} {modules}"'
        f' shape-rendering="crispEdges"><path d="{dark}" fill="#000"/></svg>'
        f'<g font-family="{_FONT}" fill="#000">{"".join(lines)}</g></svg>'
    )


def _text(y: float, size: float, words: str, *, bold: bool = False) -> str:
    weight = ' font-weight="700"' if bold else ""
    return f'<text x="30" y="{y}" font-size="{size}"{weight}>{escape(words)}</text>'
