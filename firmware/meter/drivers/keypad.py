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
        read = ""
        count = 0
        for row in range(4):  # by index, which takes nothing from the heap
            self._rows[row].value(0)
            for column in range(3):
                if not self._columns[column].value():
                    read = ROWS[row][column]
                    count += 1
            self._rows[row].value(1)
        if count > 1:
            read = ""
        if read == self._read:
            self._down = read
        self._read = read
        return self._down
