"""What pyproject.toml cannot say: the wheel takes the experiment files along, from their own folder."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=["yolo_synth*"]),
        "yolo_synth.experiments",
        "yolo_synth.experiments.data",
    ],
    package_dir={"yolo_synth.experiments": "experiments"},
)
