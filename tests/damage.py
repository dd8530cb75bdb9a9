"""Files as disks, strangers and other versions leave them: cut, changed, or of something else."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

FUZZ = settings(max_examples=max(200, settings().max_examples))
"""200 cases in the suite, and as many as the profile says in `make fuzz`."""

_LONG = 4000

SPLICES = [
    *(
        b"",
        b"{}",
        b"[]",
        b"null",
        b"NaN",
        b"1e999",
        b"-1",
        b'"',
        b"}",
        b",",
        b"\n",
        b"\x00",
        b"\xff",
    ),
    *(
        b"[" * _LONG,
        b"9" * _LONG,
        b'{"a":' * _LONG,
        b"!!python/object:os.system",
        b"&a [*a]",
        b": ",
    ),
]


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """Draw a file that was once `whole`, or never."""
    place = st.integers(0, len(whole))
    splice = st.sampled_from(SPLICES) | st.binary(max_size=8)
    cut = place.map(lambda end: whole[:end])
    changed = st.tuples(place, st.integers(0, 12), splice).map(
        lambda drawn: whole[: drawn[0]] + drawn[2] + whole[drawn[0] + drawn[1] :]
    )
    return st.one_of(changed, cut, splice, st.binary(max_size=100))
