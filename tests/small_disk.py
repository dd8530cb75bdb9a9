"""Run the command line on a disk of its own that is small, full or read-only, as steps of a list.

`python small_disk.py FOLDER BYTES` reads steps as JSON from its input, mounts a disk of so many bytes
there, in a namespace that `unshare` gave it, and prints what each step left:

    ["run", [ARGUMENTS]]    the command line in this process: its exit code and output
    ["copy", PATH]          a folder onto the disk, "." its content
    ["room", BYTES]         nothing else is free
    ["mode", "ro" or "rw"]  whether the disk can be written to
    ["files"]               names and lengths of all files on it
    ["fetch", PATH]         all of it in another folder, since it is gone afterwards
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILLER = "filler"


def disk(folder: Path, size: int, steps: list, **environment: str) -> list:
    """Do steps on a disk of its own at a folder; return what each gave."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here, which mounts a disk without rights")
    mounts = subprocess.run(["unshare", "-rm", "true"], capture_output=True, text=True, check=False)
    if mounts.returncode:
        pytest.skip(f"no user namespaces here: {mounts.stderr.strip()}")
    folder.mkdir()
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, __file__, str(folder), str(size)],
        input=json.dumps(steps),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}  # as in this process
        | environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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


def main() -> None:
    folder = Path(sys.argv[1])
    size = f"size={sys.argv[2]}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder], check=True)
    steps = json.load(sys.stdin)
    results = [_do(folder, kind, *given, *[None] * (1 - len(given))) for kind, *given in steps]
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
