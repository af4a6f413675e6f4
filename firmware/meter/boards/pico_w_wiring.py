"""Where the parts of the Pico W board hang: GPIO numbers, and nothing else. `docs/firmware.md` shows this table.

GPIO 23, 24, 25 and 29 belong to the radio.
"""

BUS_TX = 0  # RS-485 DI
BUS_RX = 1  # RS-485 RO
BUS_ENABLE = 2  # RS-485 DE and /RE, pull-down 10 kOhm
BUZZER = 3  # buzzer
CHIP_TX = 4  # BL0942 RX, through an isolator
CHIP_RX = 5  # BL0942 TX, through an isolator
KEY_ROWS = (6, 7, 8, 9)  # keypad rows 123, 456, 789, *0#
KEY_COLUMNS = (10, 11, 12)  # keypad columns
LAMP_CREDIT = 13  # LED credit
LAMP_LINK = 14  # LED communication
LAMP_OFF = 15  # LED supply off
COILS = 16  # driver of the closing coil, pull-down 10 kOhm; the opening coil's is GPIO 17
LOAD_SIDE = 18  # optocoupler behind the contact, smoothed; 0 = voltage there
PULSE_IN = 19  # pulse output of a meter on a rail, where there is no BL0942; pull-down
I2C_SDA = 20  # PCF8563, FRAM, LM75, SSD1306: SDA, pull-up 4.7 kOhm
I2C_SCL = 21  # SCL, pull-up 4.7 kOhm
PULSE_OUT = 22  # LED of the test output
COVER = 26  # cover switch, 1 = open
SEAL = 27  # switch behind the verification seal, 1 = open
SUPPLY_BAD = 28  # comparator on the unregulated supply, 0 = sags

CHIP = "BL0942"  # or "PULSES"
PULSE_MS = 50  # of a relay coil; the relay's data sheet says how long
