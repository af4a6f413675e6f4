"""Why supply is off: holds that others set by signed order, and causes that are the meter's own.

Supply is off while any hold or cause stands. A hold's number is the selector of its `supply` order and its bit in the
`holds` word of reports; a cause's number is its bit in the `causes` word. Numbers are never used again for another
reason. Where a hold and a cause may stand in one field (events, switches), a cause is `OWN` + its number.
"""

OWN = 0x100
BY_KEY = 0x200  # in such a field: the customer, at the meter

HOLD_ARREARS = 1
HOLD_CUSTOMER_REQUEST = 2
HOLD_MOVE_OUT = 3
HOLD_TAMPER = 4
HOLD_LOAD_CONTROL = 5
HOLD_LEGAL = 6
HOLD_SAFETY = 7
HOLD_PROTECTION = 8  # the one that keeps supply on (保电): set by the same order, read in the same word

CAUSE_OUT_OF_CREDIT = 0
CAUSE_OVERLOAD = 1
CAUSE_SUPPLY_QUALITY = 2  # voltage outside its limits, or not yet stable after power came back
CAUSE_NOT_COMMISSIONED = 3
CAUSE_RETIRED = 4
CAUSE_REMINDER = 5  # the balance came to the second alarm: the customer's key restores supply
CAUSE_OVER_VOLTAGE = 6
CAUSE_UNDER_VOLTAGE = 7
CAUSE_TEMPERATURE = 8
CAUSE_LOAD_LIMIT = 9  # more power than load control allows
