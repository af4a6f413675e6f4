"""Why an image stands as it does on its way to a meter, in words."""

from headend.firmware import words
from headend.firmware.lifecycle import BACK, REFUSED
from meterlink import names
from meterlink.labels import LABEL, Text

NOTHING: Text = ("", "")


def why(state: str, result: int, note: str) -> Text:
    """Of a delivery; nothing where there is nothing to say."""
    if state == BACK:
        return why_back(note)
    if state == REFUSED:
        code = names.of(names.RESULT, result)
        return LABEL["result"].get(code, (code, code))
    return (note, note)


def why_back(note: str) -> Text:
    """Why a meter went back to its firmware before; `note`: the detail of its event."""
    if note.isdigit() and int(note) in words.BACK_BY:
        return words.BACK_BY[int(note)]
    english, chinese = words.BACK_OTHERWISE
    return english.format(detail=note), chinese.format(detail=note)
