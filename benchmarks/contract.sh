#!/usr/bin/env bash
# Runs the tests of other libraries' networks on the oldest and the newest versions that are supported, each
# in an environment of its own beside the project's packages: make contract
set -e
python=${1:-.venv/bin/python}
ours=$($python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for versions in "transformers==5.0.0 timm==1.0.20" "transformers timm"; do
  place=$(mktemp -d)
  $python -m venv "$place"
  theirs=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$ours" > "$theirs/ours.pth"
  # shellcheck disable=SC2086 # two words are two packages
  "$place/bin/python" -m pip install -q $versions
  "$place/bin/python" -c 'import timm, transformers as t; print("transformers", t.__version__, "timm", timm.__version__)'
  "$place/bin/python" -m pytest -q -W ignore::FutureWarning tests/references # they use what PyTorch gives up
  rm -r "$place"
done
