"""A keypad of 4 rows and 3 columns, scanned.

Rows are open-drain pins that are driven low one at a time (a row that is not driven floats, so two keys cannot short
two outputs); columns are inputs with pull-ups. A key connects its row and its column. Contacts bounce for up to 10 ms
or so: a reading counts when it is the same in two scans, 20 ms apart.
"""

ROWS = ("123", "456", "789", "*0#")


class Keypad:
    """rows, columns: pins with `value()`, 4 and 3 of them; see above for how they are made."""

    def __init__(self, rows, columns) -> None:
        self._rows = rows
        self._columns = columns
        self._read = ""
        self._down = ""
        for row in rows:
            row.value(1)

    def down(self) -> str:
        """Scan once; the key that is down, "" for none. Several keys at once are none: without diodes they cannot be
        told apart."""
        found = ""
        for row, keys in zip(self._rows, ROWS):
            row.value(0)
            for column, key in zip(self._columns, keys):
                if not column.value():
                    found += key
            row.value(1)
        read = found if len(found) == 1 else ""
        if read == self._read:
            self._down = read
        self._read = read
        return self._down
