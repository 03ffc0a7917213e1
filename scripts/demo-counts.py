#!/usr/bin/env python3
"""One line of live counts for the demo, out of what `drover status --json` says on both sides and what the app's own
tables hold. Exit status 0 if everything is confirmed, 3 if not yet, 1 if it cannot tell. With --explain it says instead
what is not confirmed, a line each.
"""

import argparse
import json
import sqlite3
import sys


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", required=True, metavar="FILE", help="the edge's status")
    parser.add_argument("--cloud", required=True, metavar="FILE", help="the cloud's status")
    parser.add_argument("--database", required=True, help="the app's database")
    parser.add_argument("--emitted", nargs=2, action="append", default=[], metavar=("STREAM", "EVENTS"))
    parser.add_argument("--explain", action="store_true")
    arguments = parser.parse_args()

    with open(arguments.edge, encoding="utf-8") as file:
        edge = json.load(file)
    with open(arguments.cloud, encoding="utf-8") as file:
        cloud = json.load(file)
    emitted = {stream: int(events) for stream, events in arguments.emitted}
    machine = edge["machine"]
    rows = {stream["name"]: stream["rows"]
            for entry in cloud["machines"] if entry["machine"] == machine for stream in entry["streams"]}

    connection = sqlite3.connect(arguments.database, timeout=30)
    connection.execute("PRAGMA query_only = ON")

    missing = []
    there = []
    totals = {"pending": 0, "synced": 0, "confirmed": 0}
    for stream in edge["streams"]:
        name = stream["name"]
        for state in totals:
            totals[state] += stream[state]
        if stream["pending"] or stream["synced"]:
            missing.append(f"{name}: {stream['pending']:,} not sent, {stream['synced']:,} sent but not confirmed")
        if name in emitted:
            expected = emitted[name]
        else:
            expected = connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0]
        there.append(f"{name} {rows.get(name, 0):,} of {expected:,}")
        if rows.get(name, 0) != expected:
            missing.append(f"{name}: {expected:,} rows at the edge, {rows.get(name, 0):,} in the cloud")
    for status in (edge, cloud):
        if status["dead_letters"]:
            missing.append(f"{status['dead_letters']:,} dead letters at the {status['side']}")

    if arguments.explain:
        for line in missing or ["everything is confirmed"]:
            print(line)
    else:
        print(f"waiting {totals['pending']:>7,}   at the broker {totals['synced']:>7,}   confirmed {totals['confirmed']:>7,}"
              f"   in the cloud: {', '.join(there)}")
    return 3 if missing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error) as error:
        print(f"demo-counts: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
