#define MICROPY_HW_BOARD_NAME "openprepay ESP32-S3"
#define MICROPY_HW_MCU_NAME "ESP32-S3"

// The bench build has its prompt on UART0; USB's pins belong to the keypad.
#ifndef MICROPY_HW_ENABLE_UART_REPL
#define MICROPY_HW_ENABLE_UART_REPL (1)
#endif
#ifndef MICROPY_HW_ENABLE_USBDEV
#define MICROPY_HW_ENABLE_USBDEV (0)
#endif
#ifndef MICROPY_HW_ESP_USB_SERIAL_JTAG
#define MICROPY_HW_ESP_USB_SERIAL_JTAG (0)
#endif
