#!/usr/bin/env python3
"""Makes the 1st, 2nd, 3rd … change of the disk go wrong, until a run survives; and looks each time that nothing is lost or there twice.

As SQLite tests itself (https://www.sqlite.org/testing.html, anomaly testing). A trial is a fresh world: broker, consumer, agent, an
app with a ledger of its own. failpoint.c is put before one of Drover's programs. The last line of the output is the report as JSON.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
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

from disk import SmallDisk, whyNot  # noqa: E402
from shim import DEATHS, ERRORS, compiled  # noqa: E402
from trial import PROGRAMS, Trial  # noqa: E402

REPOSITORY = HERE.parents[3]
#: Timing moves a few calls, so one run that survives is not yet the end.
SURVIVALS = 3


@dataclasses.dataclass
class Setting:
    drover: str
    library: str
    template: str
    folder: str
    keep: bool


@dataclasses.dataclass(frozen=True)
class Series:
    """One program, one kind of failure, and the journal mode of the app's database."""

    program: str
    journal: str
    kind: str

    def __str__(self):
        return f"{self.program} {self.kind} {self.journal.lower()}"


def tried(setting, series, number):
    """One trial, in a process of its own."""
    folder = f"{setting.folder}/{series}-{number}".replace(" ", "-")
    result = Trial(setting, folder, series.program, series.journal, series.kind, number).whole()
    if not result.violations and not setting.keep:
        shutil.rmtree(folder)
    return result


def tried_on_small_disk(setting, series):
    folder = f"{setting.folder}/{series}".replace(" ", "-")
    return SmallDisk(setting, folder, series.program, series.journal).whole()


class Loop:
    def __init__(self, setting, workers):
        self.setting = setting
        self.pool = concurrent.futures.ProcessPoolExecutor(workers)
        self.workers = workers

    def whole(self, series, first):
        """All points from the first one on, until runs survive."""
        results, survivals, number, running = [], 0, first, set()
        while survivals < SURVIVALS:
            while len(running) < self.workers:
                running.add(self.pool.submit(tried, self.setting, series, number))
                number += 1
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                results.append(future.result())
                survivals += results[-1].failure is None
        results += [future.result() for future in running]
        return results

    def small_disks(self, series):
        return [self.pool.submit(tried_on_small_disk, self.setting, series).result()]

    def spread(self, series, count, chance):
        """So many points at even distances, from an offset that is drawn."""
        calls = self.pool.submit(tried, self.setting, series, 0).result().calls
        distance = max(1, calls // count)
        offset = chance.randint(1, distance)
        numbers = range(offset, calls + 1, distance)
        return [future.result() for future in [self.pool.submit(tried, self.setting, series, number) for number in numbers]]


def series_makes_sense(program, journal, kind):
    """The consumer's database is its own, whatever the app's journal mode is; and only those two send what they flushed."""
    if program == "consumer" and journal == "DELETE":
        return False
    return kind != "unflushed" or program in ("agent", "consumer")


def tell(series, results, seconds):
    struck = [result for result in results if result.failure]
    silent = collections.Counter(f"{result.failure[0]} {result.failure[1]}" for result in struck if not result.said)
    summary = {
        "series": str(series), "points": len(struck), "survived": len(results) - len(struck),
        "ended": sum(result.ended is not None for result in struck), "violations": 0, "seconds": round(seconds)}
    if series.kind in ERRORS:
        summary["silent"] = dict(silent)
    for result in sorted(results, key=lambda result: result.number):
        for violation in result.violations:
            summary["violations"] += 1
            print(f"violation: {series} {result.number} {result.failure}: {violation}")
    print(f"failpoints: {summary}", flush=True)
    return summary


def main():
    parser = argparse.ArgumentParser(prog="failpoints", description=__doc__.splitlines()[0])
    parser.add_argument("--program", choices=PROGRAMS, action="append", help="only this one; may be given several times")
    parser.add_argument("--kind", choices=DEATHS + ERRORS, action="append", help="only this kind of failure; may be given several times")
    parser.add_argument("--journal", choices=["WAL", "DELETE"], action="append", help="only this journal mode of the app's database")
    parser.add_argument("--first", type=int, default=1, help="begin with this point (default 1)")
    parser.add_argument("--only", type=int, help="this point alone, and keep its folder")
    parser.add_argument("--spread", type=int, metavar="COUNT", help="not all points, but about so many of each series")
    parser.add_argument("--seed", type=int, help="which ones those are; drawn and printed when it is not given")
    parser.add_argument("--small-disk", action="store_true", help="instead: disks of 2 MB that are really full; needs root")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.small_disk and not os.environ.get("FAILPOINTS_MAY_MOUNT"):
        if reason := whyNot():
            print(json.dumps({"skipped": reason}))
            return 0
        os.execvpe("unshare", ["unshare", "-m", sys.executable, *sys.argv], os.environ | {"FAILPOINTS_MAY_MOUNT": "1"})
    if options.small_disk:
        options.program, options.kind = ["agent", "consumer"], ["full"]
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed

    folder = tempfile.mkdtemp(prefix="drover-failpoints.")
    setting = Setting(
        os.path.abspath(os.environ["DROVER"]), compiled(folder), (REPOSITORY / "broker" / "loopback.conf").read_text(), folder,
        options.only is not None)
    loop = Loop(setting, options.workers)
    chance = random.Random(seed)
    print(f"failpoints: seed {seed}, folder {folder}", flush=True)
    summaries = []
    for series in [
            Series(program, journal, kind) for program in options.program or PROGRAMS
            for kind in options.kind or DEATHS + ERRORS for journal in options.journal or ["WAL", "DELETE"]
            if series_makes_sense(program, journal, kind)]:
        began = time.monotonic()
        if options.small_disk:
            results = loop.small_disks(series)
        elif options.only is not None:
            results = [tried(setting, series, options.only)]
            print(results[0])
        elif options.spread:
            results = loop.spread(series, options.spread, chance)
        else:
            results = loop.whole(series, options.first)
        summaries.append(tell(series, results, time.monotonic() - began))
    violations = sum(summary["violations"] for summary in summaries)
    if not violations and options.only is None:
        shutil.rmtree(folder)
    else:
        print(f"failpoints: the databases and logs stay in {folder}", file=sys.stderr)
    print(json.dumps({"seed": seed, "points": sum(summary["points"] for summary in summaries), "violations": violations}))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
