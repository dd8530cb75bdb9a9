"""Options of a data module that are refused before anything is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from yolo_synth.data.conditions import check_where


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse sizes, shares and names that are none.

    Args:
        options: Those of `DetectionData`, by name.

    Raises:
        ValueError: If one is none, a condition is about no attribute, or both `splits` and `split_by`
            are given.
    """
    if options["image_size"] < 1:
        raise ValueError(f"data.image_size is a side in pixels, not {options['image_size']}")
    if not 0 <= options["max_skipped"] < 1:
        share = options["max_skipped"]
        raise ValueError(f"data.max_skipped is a share of images, 0 to 1, not {share}")
    for name in ("train_images", "epoch_images"):
        if options[name] is not None and options[name] < 1:
            raise ValueError(f"data.{name} is a number of images, not {options[name]}")
    splits, split_by, domain = (options[name] for name in ("splits", "split_by", "domain"))
    if splits is not None and split_by is not None:
        raise ValueError(
            f"data.splits ({splits}) and data.split_by ({split_by}) are both given: choose one, "
            "the other is null"
        )
    if domain is not None and not re.fullmatch(r"\w[\w+.-]*", domain):
        raise ValueError(f"data.domain: {domain!r} is no name of letters, digits, - _ + and .")
    check_where(options["where"] or {})
