"""The colours of figures and pages: Okabe and Ito's, which the colour-blind tell apart too, and greys."""

from __future__ import annotations

from typing import Final

BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
YELLOW: Final = "#F0E442"

INK: Final = "#333333"
"""Of text and of the lines that carry meaning."""

GREY: Final = "#6B7075"
"""Of what stands back."""

FAINT: Final = "#9AA0A6"
"""Of lines that only guide the eye."""

PALE: Final = "#C9CED3"
"""Of what there is most of, and is not spoken of."""

SHADE: Final = "#D9DCDF"
"""Of what chance gives, and of what is not defined."""
