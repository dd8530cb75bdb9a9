"""Run the command line on a disk of its own that is small, full or read-only, as steps of a list.

`python small_disk.py` reads lines of [FOLDER, BYTES, STEPS, PLACE, ENVIRONMENT] as JSON, mounts a
disk of so many bytes there, in a namespace that `unshare` gave it, and prints what each step left:

    ["run", [ARGUMENTS]]    the command line, in a process with its imports done: exit code and output
    ["copy", PATH]          a folder onto the disk, "." its content
    ["room", BYTES]         nothing else is free
    ["mode", "ro" or "rw"]  whether the disk can be written to
    ["files"]               names and lengths of all files on it
    ["fetch", PATH]         all of it in another folder, since it is gone afterwards
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FILLER = "filler"


@contextlib.contextmanager
def disks() -> Iterator[Callable[..., list]]:
    """Give a function that does steps on a new disk at a folder and returns what each gave."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here, which mounts a disk without rights")
    mounts = subprocess.run(["unshare", "-rm", "true"], capture_output=True, text=True, check=False)
    if mounts.returncode:
        pytest.skip(f"no user namespaces here: {mounts.stderr.strip()}")
    server = subprocess.Popen(
        ["unshare", "-rm", sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},  # as in this process
    )
    assert server.stdin
    assert server.stdout

    def disk(folder: Path, size: int, steps: list, **environment: str) -> list:
        folder.mkdir()
        server.stdin.write(
            json.dumps([str(folder), size, steps, str(Path.cwd()), environment]) + "\n"
        )
        server.stdin.flush()
        line = server.stdout.readline()
        assert line.strip(), "a step failed: see the process's own output"
        return json.loads(line)

    with server:
        yield disk
        server.stdin.close()


def _do(folder: Path, kind: str, given) -> object:
    if kind == "run":
        from yolo_synth.cli import main

        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(given)
        return [code, said.getvalue()]
    if kind == "copy":
        shutil.copytree(given, folder, dirs_exist_ok=True)
    elif kind == "room":
        (folder / FILLER).unlink(missing_ok=True)
        free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        if given is not None:
            (folder / FILLER).write_bytes(bytes(max(0, free - given)))
    elif kind == "fetch":
        shutil.copytree(folder, given)
    elif kind == "mode":
        subprocess.run(["mount", "-o", f"remount,{given}", folder], check=True)
    else:
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(p.relative_to(folder)): p.stat().st_size for p in found if p.name != FILLER}
    return None


def _serve(folder: Path, size: int, steps: list, place: str, environment: dict[str, str]) -> None:
    os.chdir(place)
    os.environ.update(environment)
    tempfile.tempdir = None  # TMPDIR may be another one now
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    results = [_do(folder, kind, *given, *[None] * (1 - len(given))) for kind, *given in steps]
    subprocess.run(["umount", "-l", folder], check=True)
    sys.stdout.write(json.dumps(results))


def main() -> None:
    importlib.import_module("yolo_synth.commands.fit")  # once, for all that are forked

    for line in sys.stdin:
        if (child := os.fork()) == 0:
            folder, *given = json.loads(line)
            _serve(Path(folder), *given)
            return
        os.waitpid(child, 0)
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
