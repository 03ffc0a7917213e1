#!/usr/bin/env python3
"""Checks that a CSV of timestamp,value that went through `drover emit` stands in the cloud as it stood in the file.

Compared with the text of the file, without a double in between: the count, the exact sum, the first and the last row, and
every row as often as it is in the file. Exit status 0 only if all of it is equal.
"""

import argparse
import collections
import csv
import decimal
import fractions
import json
import pathlib
import sqlite3
import sys


class Literal(str):
    """A number of a JSON text, as it is written there."""


def exact(text):
    return fractions.Fraction(decimal.Decimal(text))


def from_file(path):
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader)
        if header != ["timestamp", "value"]:
            sys.exit(f"check_temperature: {path}: the header is {header}, expected timestamp,value")
        return [(timestamp, exact(value)) for timestamp, value in reader]


def from_cloud(path, machine, stream):
    """The rows in the order of their versions where the table has them, and in the order of their time otherwise."""
    if not pathlib.Path(path).is_file():
        sys.exit(f"check_temperature: {path}: no such file")
    connection = sqlite3.connect(path, timeout=30)
    connection.execute("PRAGMA query_only = ON")
    table = '"' + stream.replace('"', '""') + '"'
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    missing = {"machine_id", "local_id", "occurred_at", "body"} - set(columns)
    if missing:
        sys.exit(f"check_temperature: {path}: table {stream} has {columns or 'no columns'}, missing: {', '.join(sorted(missing))}")
    orders = [name for name in ("drover_seq", "drover_version") if name in columns]
    rows, wrong, empty_ids = [], 0, 0
    order = ", ".join(orders) or "json_extract(body, '$.timestamp'), rowid"
    query = f"SELECT local_id, occurred_at, body FROM {table} WHERE machine_id = ? ORDER BY {order}"
    for local_id, occurred_at, body in connection.execute(query, (machine,)):
        empty_ids += not local_id
        parsed = json.loads(body, parse_float=Literal, parse_int=Literal)
        if sorted(parsed) != ["timestamp", "value"] or not isinstance(parsed["value"], Literal) or not occurred_at:
            wrong += 1
            continue
        rows.append((parsed["timestamp"], exact(parsed["value"])))
    return rows, wrong, empty_ids


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", metavar="CSV")
    parser.add_argument("cloud", metavar="CLOUD_DB")
    parser.add_argument("machine", metavar="MACHINE")
    parser.add_argument("stream", metavar="STREAM")
    arguments = parser.parse_args()

    file = from_file(arguments.csv)
    if not file:
        sys.exit(f"check_temperature: {arguments.csv}: no rows: nothing to compare")
    cloud, wrong, empty_ids = from_cloud(arguments.cloud, arguments.machine, arguments.stream)

    def shown(row):
        return f"{row[0]} {decimal.Decimal(row[1].numerator) / decimal.Decimal(row[1].denominator)}" if row else "none"

    def total(rows):
        decimal.getcontext().prec = 60
        value = sum((value for _, value in rows), fractions.Fraction(0))
        return value, str(decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator))

    file_sum, file_sum_text = total(file)
    cloud_sum, cloud_sum_text = total(cloud)
    only_file = collections.Counter(file) - collections.Counter(cloud)
    only_cloud = collections.Counter(cloud) - collections.Counter(file)
    checks = [
        ("count", str(len(file)), str(len(cloud)), len(file) == len(cloud)),
        ("sum", file_sum_text, cloud_sum_text, file_sum == cloud_sum),
        ("first row", shown(file[0]), shown(cloud[0] if cloud else None), cloud[:1] == file[:1]),
        ("last row", shown(file[-1]), shown(cloud[-1] if cloud else None), cloud[-1:] == file[-1:]),
        ("rows on one side only", str(only_file.total()), str(only_cloud.total()), not only_file and not only_cloud),
        ("rows of another shape", "0", str(wrong), wrong == 0),
        ("rows without a local ID", "0", str(empty_ids), empty_ids == 0),
    ]
    print(f"{'':<24}  {'file':<40}  {'cloud':<40}")
    for name, left, right, fine in checks:
        print(f"{name:<24}  {left:<40}  {right:<40}  {'equal' if fine else 'DIFFERENT'}")
    fine = all(check[-1] for check in checks)
    print("equal" if fine else "DIFFERENT")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
