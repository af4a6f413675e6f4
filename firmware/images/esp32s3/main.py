"""What a start of the board ends in."""

from meter.boards import esp32s3_boot

esp32s3_boot.start()
