"""How the demo's texts are kept: in pairs (English, Chinese) with the same fields in braces, beside their code."""

from typing import Literal

Language = Literal["en", "zh"]
Text = tuple[str, str]
