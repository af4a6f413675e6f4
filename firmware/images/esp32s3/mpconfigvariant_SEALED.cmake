# No console of any kind, secure boot, flash encryption. Fuses that this burns cannot be restored: docs/firmware.md.
set(SDKCONFIG_DEFAULTS
    ${SDKCONFIG_DEFAULTS}
    ${MICROPY_BOARD_DIR}/sdkconfig.sealed
)

list(APPEND MICROPY_DEF_BOARD
    MICROPY_HW_ENABLE_UART_REPL=0
    MICROPY_HW_ENABLE_USBDEV=0
    MICROPY_HW_ESP_USB_SERIAL_JTAG=0
)
