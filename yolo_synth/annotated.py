"""Pictures and videos with what was found in them drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from yolo_synth.detecting import Found
from yolo_synth.files import write_whole
from yolo_synth.labels import class_colours

_QUALITY: Final = 90
_JPEG: Final = (".jpg", ".jpeg")


class Annotator:
    """Draws pictures into a folder, or the frames of a video into one."""

    def __init__(self, folder: Path, classes: Sequence[str], rate: float | None = None) -> None:
        """Draw nothing yet.

        Args:
            folder: Pictures become `pictures/NAME.jpg` in it, a video `NAME.mp4`.
            classes: Names of the classes.
            rate: Pictures a second, of a video; None of pictures.
        """
        self._folder = folder
        self._classes = classes
        self._colours = class_colours(max(1, len(classes)))
        self._rate = rate
        self._video: cv2.VideoWriter | None = None

    def draw(self, found: Found) -> None:
        """Draw a picture with its boxes.

        Raises:
            ValueError: If it cannot be read, its name leads elsewhere, or no video can be written.
        """
        picture = self.annotated(found)
        if self._rate is not None:
            self._add_frame(picture, found, self._rate)
            return
        stream = BytesIO()
        picture.save(stream, "JPEG", quality=_QUALITY)
        name = found.shot.name
        place = self._folder / "pictures" / name
        if place.suffix.lower() not in _JPEG:
            place = place.with_name(f"{place.name}.jpg")
        if not place.resolve().is_relative_to(self._folder.resolve()):
            raise ValueError(f"{name!r} would be written outside of {self._folder}: rename it")
        write_whole(place, stream.getvalue())

    def annotated(self, found: Found) -> Image.Image:
        """Return a picture with its boxes, the surest on top, a colour a class."""
        picture = Image.fromarray(found.shot.whole())
        longer = max(picture.size)
        pen, width = ImageDraw.Draw(picture), max(2, round(longer / 400))
        font = ImageFont.load_default(max(11, round(longer / 70)))
        boxes = list(zip(found.boxes.tolist(), found.scores, found.labels.tolist(), strict=True))
        for (x1, y1, x2, y2), score, label in reversed(boxes):
            colour = self._colours[label % len(self._colours)]
            named = self._classes[label] if label < len(self._classes) else str(label)
            text = f"{named} {score:.2f}"
            pen.rectangle((x1, y1, x2, y2), outline=colour, width=width)
            across, down = pen.textbbox((0, 0), text, font=font)[2:]
            top = y1 - down - 4 if y1 >= down + 4 else y1
            pen.rectangle((x1, top, x1 + across + 4, top + down + 4), fill=colour)
            is_dark = sum(ImageColor.getrgb(colour)[:3]) < 384
            pen.text((x1 + 2, top + 1), text, fill="white" if is_dark else "black", font=font)
        return picture

    def close(self) -> None:
        """End the video, if there is one."""
        if self._video is not None:
            self._video.release()

    def _add_frame(self, picture: Image.Image, found: Found, rate: float) -> None:
        if self._video is None:
            path = self._folder / f"{found.shot.path.stem}.mp4"
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._video = cv2.VideoWriter(str(path), code, rate, picture.size)
            if not self._video.isOpened():
                raise ValueError(f"{path}: a video cannot be written here; give --no_pictures")
        self._video.write(cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR))
