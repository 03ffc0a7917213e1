#!/usr/bin/env python3
"""Makes the 1st, 2nd, 3rd … change of the disk go wrong, until a run survives; each time nothing may be lost or there twice.

As SQLite tests itself (https://www.sqlite.org/testing.html, anomaly testing). A trial is a fresh world: broker, consumer, agent, an
app with a ledger of its own. failpoint.c is put before one of Drover's programs. The last line of the output is the report as JSON.
Exit status 1 on any violation; then the folders of those trials stay.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "chaos")]

from disk import reason_against, with_mounts  # noqa: E402
from executable import REPOSITORY, drover  # noqa: E402
from series import Loop, Series, Setting  # noqa: E402
from shim import DEATHS, ERRORS, compiled  # noqa: E402
from trial import PROGRAMS  # noqa: E402


def told(series, results, seconds):
    """One line for a series, and one for each violation."""
    struck = [result for result in results if result.failure]
    violations = [(result, text) for result in sorted(results, key=lambda result: result.number) for text in result.violations]
    for result, text in violations:
        print(f"violation: {series} {result.number} {result.failure}: {text}")
    summary = {
        "series": str(series), "points": len(struck), "survived": len(results) - len(struck),
        "ended": sum(result.ended is not None for result in struck), "violations": len(violations), "after_s": round(seconds)}
    if series.kind in ERRORS:
        # What SQLite keeps to itself, because it does it again at the next opportunity.
        summary["silent"] = dict(collections.Counter(" ".join(result.failure) for result in struck if not result.said))
    print(f"failpoints: {summary}", flush=True)
    return summary


def arguments():
    parser = argparse.ArgumentParser(prog="failpoints", description=__doc__.splitlines()[0])
    parser.add_argument("--program", choices=PROGRAMS, action="append", help="only this one; may be given several times")
    parser.add_argument("--kind", choices=DEATHS + ERRORS, action="append", help="only this one; may be given several times")
    parser.add_argument("--journal", choices=["WAL", "DELETE"], action="append", help="only this journal mode of the app's database")
    parser.add_argument("--only", type=int, metavar="POINT", help="this point alone, and keep its folder")
    parser.add_argument("--spread", type=int, metavar="COUNT", help="not all points, but about so many of each series")
    parser.add_argument("--small-disk", action="store_true", help="instead: small disks that are really full; needs root")
    parser.add_argument("--seed", type=int, help="what --spread begins with; drawn and printed when it is not given")
    parser.add_argument("--workers", type=int, default=2 * (os.cpu_count() or 1), help="trials at a time; they mostly wait")
    options = parser.parse_args()
    if options.small_disk:
        options.program, options.kind = ["agent", "consumer"], ["full"]
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1_000_000)
    return options


def main():
    options = arguments()
    if options.small_disk:
        if reason := reason_against():
            print(json.dumps({"skipped": reason}))
            return 0
        with_mounts()
    executable = drover()
    folder = tempfile.mkdtemp(prefix="drover-failpoints.")
    print(f"failpoints: seed {options.seed}, folder {folder}", flush=True)
    template = (REPOSITORY / "broker" / "loopback.conf").read_text()
    loop = Loop(Setting(executable, compiled(folder), template, folder, options.only is not None), options.workers)
    chance = random.Random(options.seed)
    all_series = [
        series for program in options.program or PROGRAMS for kind in options.kind or DEATHS + ERRORS
        for journal in options.journal or ["WAL", "DELETE"] if (series := Series(program, journal, kind)).makesSense]
    if options.small_disk:
        outcomes = loop.small_disk(all_series)
    elif options.only is not None:
        outcomes = loop.one(all_series, options.only)
    elif options.spread:
        outcomes = loop.spread(all_series, options.spread, chance)
    else:
        outcomes = loop.whole(all_series)
    began = time.monotonic()
    summaries = [told(series, results, time.monotonic() - began) for series, results in outcomes]
    loop.end()
    violations = sum(summary["violations"] for summary in summaries)
    if violations or options.only is not None:
        print(f"failpoints: the databases and logs stay in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    print(json.dumps(
        {"seed": options.seed, "points": sum(summary["points"] for summary in summaries), "violations": violations, "skipped": None}))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
