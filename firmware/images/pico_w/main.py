"""What a start of the board ends in."""

from meter.boards import pico_w_main

pico_w_main.run()
