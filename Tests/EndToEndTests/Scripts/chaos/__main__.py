#!/usr/bin/env python3
"""Kills Drover's processes, the broker and the database's server while apps write, and compares at the end: nothing lost, nothing twice.

Real processes on loopback, in a temporary folder: a mosquitto, the consumer, machines with an agent and two apps each, and a proxy
before the broker that cuts, stalls and refuses. The last line of the output is the report as JSON. Exit status 1 on any violation;
then the folder stays.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from executable import drover  # noqa: E402
from run import Run  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]


def line(report):
    kinds = ", ".join(f"{count} {kind}" for kind, count in report["by_kind"].items())
    recovery = (
        f"recovery median {report['recovery_median_s']} s, max {report['recovery_max_s']} s of {report['recoveries']}"
        if report["recoveries"] else "no recovery was seen")
    return (
        f"chaos: seed {report['seed']}: {report['kills']} kills ({kinds}), {report['events']} events, {report['lost']} lost, "
        f"{report['doubled']} doubled, {report['refused']} refused, {recovery}, {report['seconds']} s: "
        + (f"{len(report['violations'])} VIOLATIONS" if report["violations"] else "no violation"))


def main():
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs of agents, broker, consumer and PostgreSQL's server (default 100)")
    parser.add_argument("--seed", type=int, help="plans the same blows again; drawn and printed when it is not given")
    parser.add_argument("--machines", type=int, default=2)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite", help="the cloud's; a PostgreSQL server of the run's own")
    parser.add_argument("--consumers", type=int, default=1, help="consumers of one group; with --store postgresql")
    parser.add_argument("--patience", type=float, default=150, help="seconds until everything has to be confirmed at the end")
    parser.add_argument("--restore-cloud", action="store_true", help="put the consumer's database back to older copies")
    parser.add_argument("--restore-edge", action="store_true", help="put machines' databases back to older copies, in two of three cases under the running agent")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the databases and logs in any case")
    options = parser.parse_args()
    if options.store == "sqlite" and options.consumers > 1:
        parser.error("several consumers need --store postgresql")
    if options.store == "postgresql" and options.restore_cloud:
        parser.error("--restore-cloud puts SQLite files back")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1_000_000)
    executable = drover()
    # Looked at wherever the run waits: an exception out of a signal handler may come where Python swallows it.
    interruption = []
    template = (REPOSITORY / "broker" / "loopback.conf").read_text()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda number, frame: interruption.append(number))
    folder = tempfile.mkdtemp(prefix="drover-chaos.")
    isClean = False
    try:
        print(f"chaos: seed {options.seed}, {options.kills} kills, folder {folder}", flush=True)
        report = Run(options, folder, executable, template, interruption).whole()
        isClean = not report["violations"]
        for violation in report["violations"]:
            print(f"violation: {violation}")
        print(line(report))
        print(json.dumps(report), flush=True)
    finally:
        if isClean and not options.keep:
            shutil.rmtree(folder)
        else:
            print(f"chaos: seed {options.seed}; the databases and logs stay in {folder}", file=sys.stderr)
    return 0 if isClean else 1


if __name__ == "__main__":
    sys.exit(main())
