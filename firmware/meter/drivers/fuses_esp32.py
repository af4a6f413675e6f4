"""Whether an ESP32-S3 is sealed: what its fuses say, which no program can take back.

Source: Espressif, "ESP32-S3 Technical Reference Manual", chapter "eFuse Controller", block 0; bit numbers as in
ESP-IDF's `esp_efuse_table.csv`. A board counts as sealed by these bits alone, never by a setting.
"""

BLOCK_0 = 0x6000_702C  # EFUSE_RD_WR_DIS_REG: bit 0 of block 0

# name, first bit, bits; each has to hold an odd number of ones (SPI_BOOT_CRYPT_CNT counts that way, the others are one)
FUSES = (
    ("SECURE_BOOT_EN", 116, 1),  # starts nothing but what the maker has signed
    ("SPI_BOOT_CRYPT_CNT", 82, 3),  # flash is encrypted
    ("DIS_DOWNLOAD_MANUAL_ENCRYPT", 52, 1),  # nobody can have it encrypted anew
    ("HARD_DIS_JTAG", 51, 1),
    ("DIS_USB_JTAG", 118, 1),
)
# One of them: no loader at all, or one that can neither read flash nor run code.
_LOADER = (("DIS_DOWNLOAD_MODE", 128, 1), ("ENABLE_SECURITY_DOWNLOAD", 133, 1))


def missing(read32) -> "list[str]":
    """The fuses that a sealed board has to have and this one has not. `read32(address)`: a word, as `machine.mem32`."""
    found = [fuse[0] for fuse in FUSES if not _burnt(read32, fuse)]
    if not [1 for fuse in _LOADER if _burnt(read32, fuse)]:
        found.append("DIS_DOWNLOAD_MODE")
    return found


def _burnt(read32, fuse) -> bool:
    _, first, bits = fuse
    word = read32(BLOCK_0 + first // 32 * 4) >> first % 32
    ones = 0
    for place in range(bits):
        ones += word >> place & 1
    return ones % 2 == 1
