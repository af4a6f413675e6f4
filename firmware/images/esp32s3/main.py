"""What a start of the board ends in."""

from meter.boards import esp32s3_main

esp32s3_main.run()
