"""Where the parts of the ESP32-S3 board hang: GPIO numbers, and nothing else. `docs/firmware.md` shows this table.

Module ESP32-S3-WROOM-1-N16 (16 MB, no PSRAM: GPIO 33..37 are free). GPIO 43 and 44 are the loader's console.
"""

SPI_SCK = 12  # ATM90E26 SCLK
SPI_MOSI = 11  # ATM90E26 SDI
SPI_MISO = 13  # ATM90E26 SDO, pull-up 10 kOhm
SPI_CS = 10  # ATM90E26 CS, pull-up 10 kOhm
I2C_SCL = 18  # PCF8563, FRAM, LM75, LCD adapter: SCL, pull-up 4.7 kOhm
I2C_SDA = 8  # SDA, pull-up 4.7 kOhm
BUS_TX = 17  # RS-485 DI
BUS_RX = 16  # RS-485 RO
BUS_ENABLE = 15  # RS-485 DE and /RE, pull-down 10 kOhm
SERVICE_TX = 6  # service port (optical head or isolated UART), output
SERVICE_RX = 7  # service port, input
COIL_CLOSE = 4  # driver of the closing coil, pull-down 10 kOhm
COIL_OPEN = 5  # driver of the opening coil, pull-down 10 kOhm
LOAD_SIDE = 14  # optocoupler behind the contact, smoothed; 0 = voltage there
COVER = 21  # cover switch, 1 = open
TERMINAL_COVER = 38  # terminal cover switch, 1 = open
MAGNET = 39  # Hall switch, 0 = magnet
SEAL = 40  # switch behind the verification seal, 1 = open
SUPPLY_BAD = 41  # comparator on the unregulated supply, 0 = sags
LAMP_CREDIT = 42  # LED credit
LAMP_LINK = 2  # LED communication
LAMP_OFF = 1  # LED supply off
PULSE_OUT = 48  # LED and terminals of the test output
BUZZER = 47  # buzzer
KEY_ROWS = (33, 34, 35, 36)  # keypad rows 123, 456, 789, *0#
KEY_COLUMNS = (37, 19, 20)  # keypad columns

PULSE_MS = 50  # of a relay coil; the relay's data sheet says how long
ADDRESS_LCD = 0x27  # PCF8574 adapter of the HD44780
