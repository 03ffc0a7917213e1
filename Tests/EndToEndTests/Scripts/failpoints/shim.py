"""The library that makes the nth change of the disk go wrong: compiled, put before a program, and asked what it did."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(__file__).with_name("failpoint.c")
#: The program dies.
DEATHS = ("kill", "tear")
#: A call fails.
ERRORS = ("full", "broken", "unflushed")


def compiled(folder):
    """Swift's toolchain brings clang."""
    compiler = next(filter(shutil.which, ["clang", "cc", "gcc"]), None)
    if not compiler:
        sys.exit("failpoints: no C compiler (clang, cc or gcc) in PATH; Swift's toolchain has a clang beside its swift")
    library = f"{folder}/failpoint.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
    return library


class FailPoint:
    """One program's fail point: the number of the call from 1, and what becomes of it."""

    def __init__(self, library, folder, kind, number):
        self.kind = kind
        self.number = number
        self.report = f"{folder}/failpoint.log"
        self.space = f"{folder}/space.log"
        self.environment = {
            "LD_PRELOAD": library, "FAILPOINT_FOLDER": folder, "FAILPOINT_REPORT": self.report, "FAILPOINT_KIND": kind,
            "FAILPOINT_AT": str(number)}
        if kind != "broken":
            self.environment["FAILPOINT_UNTIL"] = self.space

    def lines(self):
        with contextlib.suppress(FileNotFoundError), open(self.report) as file:
            return [line.split() for line in file]
        return []

    @property
    def failures(self):
        """What went wrong: (call, file), the first one first."""
        return [(line[1], line[2] if len(line) > 2 else "/") for line in self.lines() if line[0] != "calls"]

    @property
    def calls(self):
        """How many there were in a run that went to its end."""
        return next((int(line[1]) for line in self.lines() if line[0] == "calls"), None)

    def make_space(self):
        """From now on nothing fails any more."""
        pathlib.Path(self.space).touch()
