"""Colours that people who see colours differently can tell apart.

Okabe and Ito's eight (jfly.uni-koeln.de/color), without black and with grey for what is aside.
"""

from __future__ import annotations

from typing import Final

BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
RED: Final = "#D55E00"
PINK: Final = "#CC79A7"
SKY: Final = "#56B4E9"
YELLOW: Final = "#F0E442"
GREY: Final = "#8A8A8A"
SERIES: Final = (BLUE, ORANGE, GREEN, RED, PINK, SKY, YELLOW, GREY)
"""In order of use; a chart tells series apart by more than colour."""
