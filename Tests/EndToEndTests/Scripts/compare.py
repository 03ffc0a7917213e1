#!/usr/bin/env python3
"""Compares every table of a machine's database with its replica in the cloud, row by row, using neither side's code.

Two values are equal when their storage class (typeof) and their bytes are equal; doubles are compared by their 64 bits.
Reported are rows that are missing, extra, or different in any of the source's columns. Skipped are drover_* and sqlite_*
tables at the edge; the cloud's own columns (machine_id, drover_*) are not looked at. Exit status 0 only if all is equal.
"""

import argparse
import collections
import pathlib
import sqlite3
import struct
import sys


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def opened(path):
    if not pathlib.Path(path).is_file():
        sys.exit(f"compare: {path}: no such file")
    # Not mode=ro: a WAL database needs its -shm file, which a reader may have to create.
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA query_only = ON")
    connection.text_factory = bytes
    connection.execute("BEGIN")  # one moment of the database, also while others write
    return connection


def tables_of(connection):
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'")
    names = sorted(row[0].decode() for row in found)
    return [name for name in names if not name.lower().startswith(("drover_", "sqlite_"))]


def columns_of(connection, table):
    """Names in order, and those of the primary key in its order. Hidden columns of virtual tables (1) are left out."""
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    names = [row[1].decode() for row in rows if row[6] != 1]
    key = [row[1].decode() for row in sorted(rows, key=lambda row: row[5]) if row[5]]
    return names, key


def exact(kind, value):
    """A value that is equal to another exactly when both have the same storage class and the same bytes."""
    if kind == b"real":
        return ("real", struct.pack(">d", value).hex(), repr(value))
    return (kind.decode(), value)


def rows_of(connection, table, columns, where="", arguments=()):
    wanted = ", ".join(f"typeof({quoted(name)}), {quoted(name)}" for name in columns)
    for row in connection.execute(f"SELECT {wanted} FROM {quoted(table)} {where}", arguments):
        yield tuple(exact(row[index], row[index + 1]) for index in range(0, len(row), 2))


def shown(value):
    kind, content = value[0], value[1]
    if kind == "null":
        return "NULL"
    if kind == "real":
        return f"{value[2]} (real {content})"
    if kind == "text":
        content = repr(content.decode("utf-8", "backslashreplace"))
    elif kind == "blob":
        content = "x'" + content.hex() + "'"
    text = str(content)
    return f"{text if len(text) <= 70 else text[:67] + '...'} ({kind})"


class Comparison:
    """One table: the rows of both sides as multisets, and what stands on one side only."""

    def __init__(self, edge, cloud, table, machine, ignored):
        self.table = table
        self.problems = []
        self.edge_rows = self.cloud_rows = self.differences = 0
        columns, key = columns_of(edge, table)
        skipped = {name.lower(): value for (of, name), value in ignored.items() if of == table.lower()}
        for name in skipped.keys() - {column.lower() for column in columns}:
            sys.exit(f"compare: --ignore-column {table}.{name}: the table has no such column")
        self.columns = [column for column in columns if column.lower() not in skipped]
        self.positions = [self.columns.index(name) for name in key if name in self.columns]

        for column in columns:
            wanted = skipped.get(column.lower())
            if wanted is not None:
                wrong = edge.execute(
                    f"SELECT count(*) FROM {quoted(table)} WHERE CAST({quoted(column)} AS TEXT) IS NOT ?", (wanted,)
                ).fetchone()[0]
                if wrong:
                    self.add(wrong, f"{column} is not {wanted} in {wrong} rows at the edge")

        at_edge = collections.Counter(rows_of(edge, table, self.columns))
        self.edge_rows = sum(at_edge.values())

        there, _ = columns_of(cloud, table)
        if not there:
            self.add(max(1, self.edge_rows), "the cloud has no such table")
            return
        present = {column.lower() for column in there}
        for name in [*self.columns, "machine_id"]:
            if name.lower() not in present:
                self.add(max(1, self.edge_rows), f"the cloud's table has no column {name}")
        if self.problems:
            return
        in_cloud = collections.Counter(
            rows_of(cloud, table, self.columns, 'WHERE "machine_id" = ?', (machine,)))
        self.cloud_rows = sum(in_cloud.values())
        self.match(at_edge - in_cloud, in_cloud - at_edge)

    def add(self, count, problem):
        self.differences += count
        self.problems.append(problem)

    def match(self, only_edge, only_cloud):
        """Pairs what is left by the primary key, so that a changed row is told from a missing and an extra one."""
        by_key = collections.defaultdict(list)
        for row in sorted(only_cloud.elements(), key=repr):
            by_key[self.key(row)].append(row)
        for row in sorted(only_edge.elements(), key=repr):
            partners = by_key.get(self.key(row)) if self.positions else None
            if partners:
                other = partners.pop()
                for name, mine, theirs in zip(self.columns, row, other):
                    if mine != theirs:
                        self.problems.append(f"{self.named(row)}: {name}: edge {shown(mine)}, cloud {shown(theirs)}")
                self.differences += 1
            else:
                self.add(1, f"{self.named(row)}: missing in the cloud")
        for rows in by_key.values():
            for row in rows:
                self.add(1, f"{self.named(row)}: only in the cloud")

    def key(self, row):
        return tuple(row[position] for position in self.positions)

    def named(self, row):
        positions = self.positions or range(len(row))
        return ", ".join(f"{self.columns[position]}={shown(row[position])}" for position in positions)


def ignored_column(text):
    column, _, value = text.partition("=")
    table, dot, name = column.partition(".")
    if not (table and dot and name):
        raise argparse.ArgumentTypeError(f"{text!r}: expected table.column or table.column=VALUE")
    return (table.lower(), name.lower()), (value if "=" in text else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("edge", metavar="EDGE_DB")
    parser.add_argument("cloud", metavar="CLOUD_DB")
    parser.add_argument("machine", metavar="MACHINE")
    parser.add_argument("--tables", help="only these, separated by commas")
    parser.add_argument(
        "--ignore-column", metavar="TABLE.COLUMN[=VALUE]", type=ignored_column, action="append", default=[],
        help="do not compare this column (e.g. the app's own synced flag, which the agent sets after the row was sent); "
        "with =VALUE every row at the edge must hold that value instead")
    parser.add_argument("--show", type=int, default=10, help="differences to show per table (default 10)")
    arguments = parser.parse_args()

    edge, cloud = opened(arguments.edge), opened(arguments.cloud)
    tables = tables_of(edge)
    if arguments.tables:
        wanted = arguments.tables.split(",")
        unknown = [name for name in wanted if name not in tables]
        if unknown:
            sys.exit(f"compare: no table {', '.join(unknown)} in {arguments.edge}")
        tables = wanted
    if not tables:
        sys.exit(f"compare: {arguments.edge} has no tables: nothing was compared")
    ignored = dict(arguments.ignore_column)
    for table in {of for of, _ in ignored} - {table.lower() for table in tables}:
        sys.exit(f"compare: --ignore-column {table}.…: no such table among those compared")

    results = [Comparison(edge, cloud, table, arguments.machine, ignored) for table in tables]
    width = max(5, *(len(result.table) for result in results))
    print(f"{'table':<{width}}  {'edge':>9}  {'cloud':>9}  {'differences':>11}")
    for result in results:
        print(f"{result.table:<{width}}  {result.edge_rows:>9}  {result.cloud_rows:>9}  {result.differences:>11}")
    totals = [sum(getattr(result, name) for result in results) for name in ("edge_rows", "cloud_rows", "differences")]
    print(f"{'all':<{width}}  {totals[0]:>9}  {totals[1]:>9}  {totals[2]:>11}")
    for result in results:
        for problem in result.problems[: arguments.show]:
            print(f"  {result.table}: {problem}")
        if len(result.problems) > arguments.show:
            print(f"  {result.table}: and {len(result.problems) - arguments.show} more")
    print("DIFFERENT" if totals[2] else "equal")
    return 1 if totals[2] else 0


if __name__ == "__main__":
    sys.exit(main())
