#!/usr/bin/env python3
"""Random inserts, updates and deletes over all tables of any SQLite database, from outside, as an app would do them.

Uses Python's sqlite3 with its default settings and looks at nothing but the schema. Most changes are a transaction of
their own, some come in groups, some groups are rolled back. Besides the plain forms there are changed primary keys,
INSERT OR REPLACE, UPSERT, updates that change nothing, and values at the edges of what SQLite can hold. Prints a line
after every hundred changes, so that a test can restart things in between, and at the end the counts as one line of JSON.
Exit status 1 if the database refused a write for any other reason than a constraint of the app's own.
"""

import argparse
import collections
import json
import random
import sqlite3
import sys
import time

# (what, how often). `replace` needs a table whose only uniqueness is its primary key: elsewhere SQLite removes other rows
# without firing their DELETE triggers, which no capture by triggers can see.
MIX = [("insert", 32), ("update", 34), ("delete", 16), ("rekey", 5), ("replace", 5), ("upsert", 5), ("touch", 3)]
TEXTS = ["", "'", '"', "\\", "a\0b", "\u2028", "é", "😀", "Ünïcödé ▓", "null", "0", "007", " 1 ", "1e5", '{"a":[1,"b"]}', "x" * 3000]
INTEGERS = [0, 1, -1, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
REALS = [0.0, -0.0, 0.1, 1.0, 1e15, 1e300, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
         float("inf"), float("-inf"), 0.1 + 0.2, 9007199254740993.0, 123456789.12345679]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


Column = collections.namedtuple("Column", "name affinity required key")


class Table:
    def __init__(self, connection, name):
        self.name = name
        rows = connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
        self.columns = [Column(row[1], affinity(row[2]), bool(row[3]) or bool(row[5]), row[5]) for row in rows if row[6] == 0]
        self.key = [column for column in sorted(self.columns, key=lambda column: column.key) if column.key]
        listed = connection.execute(f"PRAGMA index_list({quoted(name)})").fetchall()
        self.only_key_is_unique = not any(row[2] and row[3] != "pk" for row in listed)
        self.without_rowid = any(
            row[4] for row in connection.execute("PRAGMA table_list") if row[0] == "main" and row[1] == name)
        # A lone INTEGER PRIMARY KEY takes integers only.
        self.rowid_alias = (
            not self.without_rowid and len(self.key) == 1
            and any(row[1] == self.key[0].name and row[2].upper() == "INTEGER" for row in rows))
        # What identifies a row in a WHERE: the key, or the rowid when there is none (or when it may hold NULL).
        self.address = [quoted(column.name) for column in self.key] if self.without_rowid or self.rowid_alias else ["rowid"]

    def where(self):
        return " AND ".join(f"{name} IS ?" for name in self.address)


def affinity(declared):
    """SQLite's rules, https://www.sqlite.org/datatype3.html section 3.1."""
    declared = declared.upper()
    if "INT" in declared:
        return "integer"
    if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if not declared or "BLOB" in declared:
        return "blob"
    if any(word in declared for word in ("REAL", "FLOA", "DOUB")):
        return "real"
    return "numeric"


class Churn:
    def __init__(self, connection, chance, tables):
        self.connection = connection
        self.chance = chance
        self.tables = tables
        self.counts = collections.Counter()
        self.by_table = collections.Counter()

    # Values

    def value(self, column):
        chance = self.chance
        if not column.required and chance.random() < 0.12:
            return None
        kind = column.affinity
        if chance.random() < 0.04 and not column.key:  # SQLite lets any type stand in any column
            kind = chance.choice(["integer", "real", "text", "blob"])
        if kind == "integer":
            return chance.choice(INTEGERS) if chance.random() < 0.15 and not column.key else chance.randint(1, 1_000_000)
        if kind == "real" or kind == "numeric":
            return chance.choice(REALS) if chance.random() < 0.2 else round(chance.uniform(-1000, 1000), chance.randint(0, 12))
        if kind == "text":
            if chance.random() < 0.15 and not column.key:
                return chance.choice(TEXTS)
            return "".join(chance.choice("abcdefgh äöü-0123") for _ in range(chance.randint(1, 24)))
        return chance.randbytes(chance.choice([0, 1, 16, 300]))

    def new_key(self, table, column):
        """A free key most of the time; the next integer, as apps count, or one that was used and deleted before."""
        if column.affinity != "integer":
            return self.value(column)
        if self.chance.random() < 0.3:
            return self.chance.randint(1, 1_000_000)
        highest = self.connection.execute(
            f"SELECT max({quoted(column.name)}) FROM {quoted(table.name)} WHERE typeof({quoted(column.name)}) = 'integer'"
        ).fetchone()[0]
        return min((highest or 0) + 1, 2**62)

    def fresh(self, table):
        return [self.new_key(table, column) if column.key else self.value(column) for column in table.columns]

    def existing(self, table):
        """The address of a row, chosen by the seed and not by SQLite's random()."""
        total = self.connection.execute(f"SELECT count(*) FROM {quoted(table.name)}").fetchone()[0]
        if not total:
            return None
        return self.connection.execute(
            f"SELECT {', '.join(table.address)} FROM {quoted(table.name)} ORDER BY {', '.join(table.address)} LIMIT 1 OFFSET ?",
            (self.chance.randrange(total),)).fetchone()

    # Changes. Each returns the number of rows that it changed.

    def insert(self, table, conflict=""):
        names = ", ".join(quoted(column.name) for column in table.columns)
        marks = ", ".join("?" for _ in table.columns)
        return self.connection.execute(
            f"INSERT {conflict} INTO {quoted(table.name)}({names}) VALUES ({marks})", self.fresh(table)).rowcount

    def update(self, table):
        row = self.existing(table)
        free = [column for column in table.columns if not column.key]
        if row is None or not free:
            return 0
        chosen = self.chance.sample(free, self.chance.randint(1, min(3, len(free))))
        assignments = ", ".join(f"{quoted(column.name)} = ?" for column in chosen)
        return self.connection.execute(
            f"UPDATE {quoted(table.name)} SET {assignments} WHERE {table.where()}",
            [*(self.value(column) for column in chosen), *row]).rowcount

    def touch(self, table):
        row = self.existing(table)
        if row is None:
            return 0
        name = quoted(self.chance.choice(table.columns).name)
        return self.connection.execute(
            f"UPDATE {quoted(table.name)} SET {name} = {name} WHERE {table.where()}", row).rowcount

    def delete(self, table):
        row = self.existing(table)
        if row is None:
            return 0
        return self.connection.execute(f"DELETE FROM {quoted(table.name)} WHERE {table.where()}", row).rowcount

    def rekey(self, table):
        row = self.existing(table)
        if row is None or not table.key:
            return 0
        column = self.chance.choice(table.key)
        return self.connection.execute(
            f"UPDATE {quoted(table.name)} SET {quoted(column.name)} = ? WHERE {table.where()}",
            [self.new_key(table, column), *row]).rowcount

    def over_existing(self, table, statement):
        """A new row over the key of one that is there."""
        row = self.existing(table)
        if row is None or not table.key or not table.only_key_is_unique:
            return 0
        names = ", ".join(quoted(column.name) for column in table.key)
        key = self.connection.execute(
            f"SELECT {names} FROM {quoted(table.name)} WHERE {table.where()}", row).fetchone()
        values = dict(zip((column.name for column in table.key), key))
        marks = ", ".join("?" for _ in table.columns)
        return self.connection.execute(
            statement.format(
                table=quoted(table.name), names=", ".join(quoted(column.name) for column in table.columns), marks=marks),
            [values.get(column.name, None) if column.key else self.value(column) for column in table.columns]).rowcount

    def replace(self, table):
        return self.over_existing(table, "INSERT OR REPLACE INTO {table}({names}) VALUES ({marks})")

    def upsert(self, table):
        free = [column for column in table.columns if not column.key]
        if not free or not table.key:
            return 0
        names = ", ".join(quoted(column.name) for column in table.key)
        update = ", ".join(f"{quoted(column.name)} = excluded.{quoted(column.name)}" for column in free)
        update = update.replace("{", "{{").replace("}", "}}")
        names = names.replace("{", "{{").replace("}", "}}")
        return self.over_existing(
            table, "INSERT INTO {table}({names}) VALUES ({marks}) ON CONFLICT(" + names + ") DO UPDATE SET " + update)

    # Transactions

    def change(self):
        """One change; a constraint of the app's own (unique, check) is met as an app would: it tries something else."""
        for _ in range(200):
            kind = self.chance.choices([name for name, _ in MIX], [weight for _, weight in MIX])[0]
            table = self.chance.choice(self.tables)
            try:
                rows = getattr(self, kind)(table)
            except (sqlite3.IntegrityError, OverflowError):
                self.counts["constraint"] += 1
                continue
            if rows > 0:
                return kind, table.name
        sys.exit("churn: no change was possible in 200 tries")

    def transaction(self, limit):
        """Returns the number of changes that were committed."""
        size = 1 if self.chance.random() < 0.9 else self.chance.randint(2, 20)
        size = min(size, limit)
        give_up = size > 1 and self.chance.random() < 0.2
        made = []
        try:
            with self.connection:
                made = [self.change() for _ in range(size)]
                if give_up:
                    raise InterruptedError
        except InterruptedError:
            self.counts["rolled_back"] += size
            return 0
        except sqlite3.OperationalError as error:
            self.counts["failed"] += 1
            print(f"churn: write failed: {error}", file=sys.stderr, flush=True)
            return 0
        for kind, table in made:
            self.counts[kind] += 1
            self.by_table[table] += 1
        self.counts["transactions"] += 1
        return size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", metavar="DB")
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="the same seed on the same database makes the same changes")
    parser.add_argument("--delay-ms", type=float, default=0, help="pause after each transaction")
    parser.add_argument("--tables", help="only these, separated by commas")
    arguments = parser.parse_args()

    connection = sqlite3.connect(f"file:{arguments.database.replace('?', '%3f').replace('#', '%23')}?mode=rw", uri=True)
    names = [row[0] for row in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name")]
    names = [name for name in names if not name.lower().startswith(("drover_", "sqlite_"))]
    if arguments.tables:
        names = [name for name in names if name in arguments.tables.split(",")]
    if not names:
        sys.exit(f"churn: {arguments.database} has no such tables")
    churn = Churn(connection, random.Random(arguments.seed), [Table(connection, name) for name in names])

    made = 0
    failures_allowed = 100
    slowest = 0.0
    while made < arguments.changes and churn.counts["failed"] < failures_allowed:
        started = time.monotonic()
        committed = churn.transaction(arguments.changes - made)
        slowest = max(slowest, time.monotonic() - started)
        for hundred in range(made // 100 + 1, (made + committed) // 100 + 1):
            print(f"{hundred * 100} changes", flush=True)
        made += committed
        if arguments.delay_ms:
            time.sleep(arguments.delay_ms / 1000)
    connection.close()
    print(json.dumps({
        "changes": made,
        **{kind: churn.counts[kind] for kind, _ in MIX},
        **{kind: churn.counts[kind] for kind in ("transactions", "rolled_back", "constraint", "failed")},
        "slowest_transaction_ms": round(slowest * 1000, 1),
        "tables": dict(sorted(churn.by_table.items())),
    }))
    return 1 if churn.counts["failed"] or made < arguments.changes else 0


if __name__ == "__main__":
    sys.exit(main())
