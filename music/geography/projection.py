"""Where a point lies on the map of the world: the Equal Earth projection, which shows countries by their true size.

B. Šavrič, T. Patterson, B. Jenny: The Equal Earth map projection, 2018.
"""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

WIDTH, HEIGHT = 2000, 870
"""Of the map, which ends in the south at Cape Horn."""
A1, A2, A3, A4 = 1.340264, -0.081106, 0.000893, 0.003796
SCALE = 369.0
EQUATOR = 484
"""Its distance to the upper edge."""


def project(latitude: float, longitude: float) -> tuple[int, int]:
    """x and y, of degrees."""
    angle = asin(sqrt(3) / 2 * sin(radians(latitude)))
    square = angle * angle
    sixth = square**3
    stretch = 9 * A4 * sixth * square + 7 * A3 * sixth + 3 * A2 * square + A1
    x = 2 * sqrt(3) * radians(longitude) * cos(angle) / (3 * stretch)
    y = angle * (A4 * sixth * square + A3 * sixth + A2 * square + A1)
    return round(WIDTH / 2 + x * SCALE), round(EQUATOR - y * SCALE)
