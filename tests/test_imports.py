"""Imports flow one way: a lower room knows none above it."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import yolo_synth
from yolo_synth import palette
from yolo_synth.cli import VERBS, Verb
from yolo_synth.data import SETS

PACKAGE = Path(yolo_synth.__file__).parent

# a room → the rooms and outside packages that it may know; standard library, numpy, `files`,
# `escaping` and `palette`, which know nothing else, are free
MAY_KNOW = {
    "labels": set(),
    "boxes": {"torch"},
    "devices": {"torch"},
    "files": set(),
    "escaping": {"pandas"},
    "claims": set(),
    "palette": set(),
    "networks": {"labels", "boxes", "torch", "torchvision", "safetensors"},
    "matching": {"boxes"},
    "average_precision": {"labels", "boxes", "matching", "torch", "torchmetrics"},
    "difference": {
        *("labels", "boxes", "matching", "data", "pandas", "scipy", "PIL", "msgspec", "jinja2"),
    },
    "diagnosis": {"average_precision", "boxes", "difference", "matching", "scipy"},
    "diagnosis_tables": {"diagnosis", "pandas"},
    "capturing": {"boxes", "networks", "torch"},
    "detector": {
        *("labels", "boxes", "networks", "average_precision", "capturing", "torch", "lightning"),
    },
    "data": {
        *("labels", "boxes", "claims", "torch", "lightning", "pandas", "cv2", "simplejpeg"),
        *("albumentations", "PIL", "msgspec", "pyarrow", "platformdirs", "tqdm"),
        *("yaml", "jsonargparse"),
    },
    "scenes": {"labels", "boxes", "claims", "data", "cv2", "PIL", "tqdm"},
    "analysis": {"platformdirs", "torch", "pandas", "scipy", "matplotlib", "seaborn"},
    "adapting": {"analysis", "torch"},
    "runs": {"labels", "data", "detector", "networks", "torch"},
    "probe": {"analysis", "data", "devices", "files", "networks", "runs", "torch", "tqdm"},
    "rounding": {"analysis", "probe", "torch"},
    "comparison": {"analysis", "files", "probe", "rounding", "torch", "pandas"},
    "crossing": {"analysis", "comparison", "probe", "torch", "pandas"},
    "comparison_files": {
        "analysis",
        "claims",
        "comparison",
        "crossing",
        "files",
        "probe",
        "pandas",
        "matplotlib",
    },
    "scoring": {
        *("boxes", "average_precision", "data", "devices", "diagnosis", "difference", "networks"),
        *("torch", "torchmetrics"),
    },
    "detecting": {"boxes", "data", "devices", "matching", "networks", "runs", "torch", "tqdm"},
    "annotated": {"detecting", "labels", "PIL", "cv2"},
    "found": {"data", "detecting", "difference", "scoring", "pandas"},
    "objects": {
        *("boxes", "networks", "data", "devices", "analysis"),
        *("torch", "torchvision", "pandas", "tqdm"),
    },
    "advice": {
        *("boxes", "networks", "data", "devices", "adapting", "average_precision", "difference"),
        *("matching", "scoring", "torch", "torchmetrics", "pandas", "tqdm"),
    },
    "curves": {"runs", "pandas", "scipy"},
    "evaluation": {
        *("labels", "analysis", "data", "diagnosis", "networks", "runs", "scoring"),
        *("torch", "pandas", "tqdm"),
    },
    "reasons": {
        *(
            "boxes",
            "adapting",
            "advice",
            "average_precision",
            "data",
            "devices",
            "difference",
            "matching",
        ),
        *("networks", "scoring", "torch", "pandas", "scipy"),
    },
    "survey": {
        *("labels", "boxes", "networks", "data", "analysis", "runs"),
        *("torch", "pandas", "scipy", "matplotlib", "cv2", "jsonargparse", "tqdm"),
    },
    "callbacks": {
        *("labels", "boxes", "networks", "runs", "probe", "comparison", "comparison_files"),
        *("analysis", "claims", "data", "diagnosis", "scoring", "torch", "lightning"),
        *("wandb", "yaml", "pandas", "matplotlib", "PIL"),
    },
    "report": {
        *("labels", "boxes", "networks", "data", "analysis", "runs", "probe", "comparison"),
        *("claims", "comparison_files", "crossing", "difference", "evaluation", "files", "devices"),
        *("diagnosis", "diagnosis_tables", "objects", "reasons", "detecting", "found", "curves"),
        *("advice", "torch", "pandas", "matplotlib", "tqdm", "jinja2"),
    },
    "commands": {
        *("labels", "boxes", "networks", "detector", "data", "analysis", "runs", "probe"),
        *(
            "comparison",
            "comparison_files",
            "crossing",
            "files",
            "scoring",
            "detecting",
            "found",
            "annotated",
        ),
        *("evaluation", "report", "devices", "torch", "lightning", "pandas", "yaml", "tqdm"),
        *(
            "callbacks",
            "claims",
            "jsonargparse",
            "diagnosis",
            "diagnosis_tables",
            "difference",
            "reasons",
            "adapting",
            "advice",
            "objects",
            "curves",
        ),
    },
}


def imports(path: Path) -> set[str]:
    """Return the rooms and outside packages that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            names = (
                [f"{module}.{alias.name}" for alias in node.names]
                if module == "yolo_synth"
                else [module]
            )
        else:
            continue
        for name in names:
            parts = name.split(".")
            found.add(parts[1] if parts[0] == "yolo_synth" and len(parts) > 1 else parts[0])
    return found - set(sys.stdlib_module_names) - {"numpy"}


@pytest.mark.parametrize("room", MAY_KNOW)
def test_a_room_knows_only_the_rooms_below_it(room):
    files = sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]
    for file in files:
        unknown = imports(file) - MAY_KNOW[room] - {room, "files", "escaping", "palette"}
        assert not unknown, f"{file.relative_to(PACKAGE)} imports {sorted(unknown)}"


def test_only_the_palette_names_the_colours_that_are_told_apart():
    shared = {value for name, value in vars(palette).items() if name.isupper()}
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.js")]
    knowing = {path.name for path in files if any(one in path.read_text() for one in shared)}
    assert knowing == {"palette.py"}


def test_every_room_has_its_rule():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__main__", "__pycache__", "cli", "py"} <= set(MAY_KNOW)


def test_nobody_imports_the_command_line():
    may = {PACKAGE / name for name in ("__init__.py", "__main__.py", "cli.py")}
    files = set(PACKAGE.rglob("*.py")) - may
    assert len(files) > 20
    assert not [path for path in files if "cli" in imports(path)]


def test_only_the_image_file_knows_its_libraries_and_only_callbacks_know_wandb():
    knowing = {
        name: {str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if name in imports(p)}
        for name in ("albumentations", "simplejpeg", "wandb")
    }
    assert knowing["albumentations"] == knowing["simplejpeg"] == {"data/images.py"}
    assert {path.split("/")[0] for path in knowing["wandb"]} == {"callbacks"}


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, yolo_synth; print([m for m in ('torch', 'lightning') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


HEAVY = ("torch", "lightning", "wandb", "pandas", "matplotlib", "scipy")


OWN_VERBS = [
    " ".join((verb, *inner))
    for verb, meaning in VERBS.items()
    for inner in ([()] if isinstance(meaning, Verb) else [(), *zip(meaning)])
]


def test_help_and_simple_mistakes_import_nothing_that_computes():
    calls = ["--help", *(f"{verb} --help" for verb in OWN_VERBS), "conquer", "data conquer"]
    calls += ["sweep a --parallel 0", "compare a b --size 0", "diff a b", "objects a --boxes 1"]
    calls += ["data check a --workers 0", "data preview a --out a.gif"]
    code = (
        "import sys\nfrom yolo_synth.cli import main\n"
        "for call in sys.argv[1:]:\n"
        "    try: code = main(call.split())\n    except SystemExit as end: code = end.code\n"
        f"    print('after', call, code, {{*{HEAVY}}} & {{*sys.modules}} or '', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *calls], capture_output=True, text=True)
    after = [line.rstrip() for line in done.stderr.splitlines() if line.startswith("after ")]
    assert after == [f"after {call} {0 if '--help' in call else 2}" for call in calls]


def test_the_public_names_are_all_there():
    assert all(hasattr(yolo_synth, name) for name in yolo_synth.__all__)
    with pytest.raises(AttributeError, match=r"nothing_like_it.*data sets are BDD100K"):
        _ = yolo_synth.nothing_like_it


def members(name):
    """Yield a public name and, of a class, its own public methods and properties."""
    thing = getattr(yolo_synth, name)
    yield name, thing
    for key, member in vars(thing).items() if inspect.isclass(thing) else ():
        plain = getattr(
            member, "fget", getattr(member, "__func__", getattr(member, "func", member))
        )
        if not key.startswith("_") and inspect.isfunction(plain):
            yield f"{name}.{key}", plain


@pytest.mark.parametrize("name", sorted({*yolo_synth.__all__, *SETS}))
def test_a_public_name_says_what_it_is_and_what_types_it_takes_and_returns(name):
    for called, member in members(name):
        assert inspect.getdoc(member), called
        signature = inspect.signature(member)
        given = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
        assert all(p.annotation is not p.empty for p in given), called
        assert inspect.isclass(member) or signature.return_annotation is not signature.empty, called


def test_a_type_checker_sees_the_public_names():
    typed = {
        alias.name
        for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(yolo_synth.__all__) <= typed
