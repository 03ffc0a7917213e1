"""The drover that a run is about."""

import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]


def drover():
    """The executable that DROVER names, or a fresh one."""
    named = os.environ.get("DROVER")
    if named:
        return os.path.abspath(named)
    build = ["swift", "build", "-c", "release", "--product", "drover", "--package-path", str(REPOSITORY)]
    subprocess.run(build, check=True, stdout=sys.stderr)
    folder = subprocess.run([*build, "--show-bin-path"], check=True, capture_output=True, text=True).stdout.strip()
    return f"{folder}/drover"
