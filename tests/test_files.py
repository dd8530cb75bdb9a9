"""Files that are read back: whole or as they were, whatever happens while they are written."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from yolo_synth import files
from yolo_synth.files import digest, remove_drafts, write_whole


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    "content", ["Größe\n", "Größe\n".encode(), lambda file: file.write("Größe\n".encode())]
)
def test_text_bytes_and_what_a_function_writes_come_back(tmp_path, content):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_whole(path, content)
    assert path.read_text(encoding="utf-8") == "Größe\n"
    assert names(path.parent) == ["file.txt"]


def test_a_name_as_long_as_a_name_may_be_can_be_written(tmp_path):
    path = tmp_path / ("x" * 255)
    write_whole(path, "text")
    assert path.read_text() == "text"


def test_what_fails_leaves_the_file_of_before_and_nothing_else(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("before")

    def fails(file):
        file.write(b"half")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_whole(path, fails)
    assert path.read_text() == "before"
    assert names(tmp_path) == ["file.json"]


def test_a_full_disk_names_the_file(tmp_path):
    def fills(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space") as error:
        write_whole(tmp_path / "file", fills)
    assert error.value.filename == str(tmp_path / "file")


def test_a_folder_that_cannot_be_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/below") as error:
        write_whole(tmp_path / "file" / "below", "text")
    assert error.value.filename == str(tmp_path / "file" / "below")


def test_a_killed_writer_leaves_the_file_of_before_and_a_draft_that_the_next_one_removes(
    tmp_path, monkeypatch
):
    path = tmp_path / "last.ckpt"
    write_whole(path, lambda file: torch.save({"step": 1}, file))
    code = (
        "import os, signal, sys\n"
        "from yolo_synth.files import write_whole\n"
        "def dies(file):\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_whole(sys.argv[1], dies)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert torch.load(path, weights_only=True) == {"step": 1}
    [draft] = [name for name in names(tmp_path) if name != "last.ckpt"]
    monkeypatch.setattr(files, "_swept", set())  # as in a process that begins
    write_whole(tmp_path / "other", "")
    assert sorted(names(tmp_path)) == ["last.ckpt", "other"]
    (tmp_path / draft).write_bytes(b"half")
    remove_drafts(tmp_path.parent)
    assert sorted(names(tmp_path)) == ["last.ckpt", "other"]


def test_a_draft_that_is_being_written_stays(tmp_path):
    def looks(file):
        assert Path(file.name).is_file()
        remove_drafts(tmp_path)
        assert Path(file.name).is_file()
        file.write(b"whole")

    write_whole(tmp_path / "file", looks)
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_draft_that_is_removed_before_it_is_held_is_made_anew(tmp_path, monkeypatch):
    held = files.hold

    def removed_once(file):
        monkeypatch.setattr(files, "hold", held)
        remove_drafts(tmp_path)
        return held(file)

    monkeypatch.setattr(files, "hold", removed_once)
    write_whole(tmp_path / "file", "whole")
    assert names(tmp_path) == ["file"]


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "file"
    code = (
        "import sys\n"
        "from yolo_synth.files import write_whole\n"
        "for _ in range(100): write_whole(sys.argv[1], sys.argv[2] * 10_000)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), w]) for w in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert path.read_text() in ("a" * 10_000, "b" * 10_000)
    assert names(tmp_path) == ["file"]


def test_digests_tell_texts_apart_and_where_they_end():
    assert digest("a", "b") == digest(b"a", "b")
    assert len({digest(), digest(""), digest("ab"), digest("a", "b"), digest("b", "a")}) == 5
    assert len(digest("a")) == 64


def test_arrays_that_a_damaged_table_of_contents_passes_over_are_missed(tmp_path):
    kept = files.Kept(tmp_path / "kept.npz", "key", 1)
    kept.write({"a": np.arange(12.0), "b": np.array(["x"])})
    whole = kept.path.read_bytes()
    assert set(kept.read()) == {"a", "b"}
    for place in range(len(whole) - 22, len(whole)):  # the record at the end
        for changed in (b"{", b"\x00", bytes([whole[place] ^ 1])):
            kept.path.write_bytes(whole[:place] + changed + whole[place + 1 :])
            assert set(kept.read() or ("a", "b")) == {"a", "b"}
    kept.path.write_bytes(whole[:686] + b"{}" + whole[688:])
    assert kept.read() is None
