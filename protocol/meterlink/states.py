"""States of the supply (DLMS/COSEM disconnect control, class 70) and of the meter's clock, as reports carry them.

Three facts are kept apart: what was ordered (orders), what the meter intends (`CONTROL_*`), and what the relay
physically is (`CONTACT_*`, with `DIAGNOSIS_*` where the two disagree).
"""

CONTROL_DISCONNECTED = 0
CONTROL_CONNECTED = 1
CONTROL_READY = 2  # ready for reconnection: waits for the customer at the meter

CONTACT_OPEN = 0
CONTACT_CLOSED = 1
CONTACT_UNKNOWN = 2

DIAGNOSIS_OK = 0
DIAGNOSIS_WELDED = 1  # told to open, the contact stays closed
DIAGNOSIS_FAILED_TO_CLOSE = 2
DIAGNOSIS_BYPASSED = 3  # the contact is open and current flows

PENDING_NONE = 0
PENDING_TRIP = 1
PENDING_CLOSE = 2

CLOCK_UNKNOWN = 0  # the RTC stopped, or was never set
CLOCK_SET = 1

ALARM_LOW_CREDIT = 0  # bits of the `alarms` word
ALARM_LOW_CREDIT_2 = 1
ALARM_RELAY = 2  # the relay is not what it was told to be
ALARM_STORAGE = 3  # the journal cannot be written or was found damaged
ALARM_CLOCK = 4
ALARM_HISTORY_LOST = 5
ALARM_TAMPER = 6  # a latch stands
ALARM_RETIRED = 7
ALARM_EMERGENCY = 8  # emergency credit is taken
ALARM_FRIENDLY = 9  # friendly time is what keeps supply on
ALARM_TEMPERATURE = 10  # supply is off, or about to be, because the terminals are too hot
ALARM_LOAD_LIMIT = 11  # the load is above what load control allows, or supply is off because it was
ALARM_METERING = 12  # pulses and measured power do not agree
ALARM_BROWN_OUT = 13  # supply sags: nothing is written and nothing is switched
ALARM_UPDATE = 14  # an image is on trial, or the last one was rolled back
ALARM_RELAY_WORN = 15  # less than a tenth of its rated operations is left

EMERGENCY_NONE = 0
EMERGENCY_OFFERED = 1  # the customer may take it at the meter
EMERGENCY_IN_USE = 2
EMERGENCY_USED_UP = 3

MODE_LOCAL = 0  # the meter prices and counts down
MODE_REMOTE = 1  # the head end prices and states an allowance
MODE_POSTPAID = 2  # the head end bills; nothing is cut for want of credit

LATCH_FLASH_DAMAGED = 0  # bits of the `latches` word: what happened stays shown until a signed clear
LATCH_UNCLEAN_STARTS = 1
LATCH_WRONG_TOKENS = 2
LATCH_BYPASSED = 3
LATCH_COVER = 4
LATCH_TERMINAL_COVER = 5
LATCH_REVERSED = 6
LATCH_MAGNET = 7
LATCH_NEUTRAL_MISSING = 8
LATCH_METERING = 9  # pulses and measured power did not agree

UPDATE_IDLE = 0  # how far an update of the firmware is
UPDATE_RECEIVING = 1
UPDATE_CHECKING = 2  # all pieces are here, the SHA-256 is computed
UPDATE_WHOLE = 3  # the image is what was offered; it waits for its order
UPDATE_ARMED = 4  # ordered: it is started in a quiet moment
UPDATE_TRIAL = 5  # it runs, and has to pass its self-test
UPDATE_GOOD = 6
UPDATE_ROLLED_BACK = 7
