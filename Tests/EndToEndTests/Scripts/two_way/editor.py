#!/usr/bin/env python3
"""Edits rows that both sides edit: the app at a machine, or a person in the cloud with an SQL client. It is killed like everything else.

Each edit appends a mark of its own to the text that its editor sees, so a text names all edits that it has seen. The edit and what the ledger says of it are
one transaction.
"""

import argparse
import contextlib
import random
import sqlite3
import subprocess
import time

ROWS = 8
LEDGER = """
    CREATE TABLE IF NOT EXISTS ledger_mark (mark TEXT PRIMARY KEY, machine TEXT NOT NULL);
    -- What was deleted by an editor who saw it.
    CREATE TABLE IF NOT EXISTS ledger_removed (machine TEXT NOT NULL, log TEXT NOT NULL);
"""


class SQLite:
    def __init__(self, path):
        self.path = path

    def run(self, statements):
        with contextlib.closing(sqlite3.connect(self.path, timeout=20, isolation_level=None)) as connection:
            connection.executescript("BEGIN IMMEDIATE;\n" + "\n".join(statements) + "\nCOMMIT;")


class PostgreSQL:
    def __init__(self, folder):
        self.folder = folder

    def run(self, statements):
        psql = ["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "drover", "postgres"]
        done = subprocess.run(psql, input="BEGIN;\n" + "\n".join(statements) + "\nCOMMIT;\n", capture_output=True, text=True)
        if done.returncode:
            raise sqlite3.OperationalError(done.stderr.strip())


class Editor:
    def __init__(self, database, machines, incarnation, dice):
        self.database, self.machines, self.incarnation, self.dice = database, machines, incarnation, dice
        self.count = 0

    #: None at the edge, where every row is the machine's own.
    machines = None

    def statements(self):
        machine = self.dice.choice(self.machines) if self.machines else None
        owner = f" AND machine_id = '{machine}'" if machine else ""
        row = self.dice.randrange(ROWS)
        self.count += 1
        mark = f"{self.incarnation}-{self.count}."
        if self.dice.random() < 0.08:
            columns, values = ("machine_id, id, log", f"'{'*'}', {row}, '{mark}'") if machine else ("id, log", f"{row}, '{mark}'")
            if not machine and self.dice.random() < 0.7:
                return []  # an app rarely edits what the cloud alone edits
            key = "machine_id, id" if machine else "id"
            return [f"INSERT INTO price ({columns}) VALUES ({values}) ON CONFLICT ({key}) DO UPDATE SET log = excluded.log;"]
        note = f"INSERT INTO ledger_mark VALUES ('{mark}', '{machine or ''}');"
        draw = self.dice.random()
        if draw < 0.1:
            return [
                f"INSERT INTO ledger_removed SELECT '{machine or ''}', log FROM t WHERE id = {row}{owner};",
                f"DELETE FROM t WHERE id = {row}{owner};"]
        if draw < 0.15:
            return [
                f"UPDATE t SET log = log || '{self.incarnation}-{self.count}' || '-' || id || '.' WHERE id % 3 = {row % 3}{owner};",
                f"INSERT INTO ledger_mark SELECT '{self.incarnation}-{self.count}' || '-' || id || '.', '{machine or ''}' FROM t"
                f" WHERE id % 3 = {row % 3}{owner};"]
        columns, values = ("machine_id, id, log", f"'{machine}', {row}, '{mark}'") if machine else ("id, log", f"{row}, '{mark}'")
        key = "machine_id, id" if machine else "id"
        return [note, f"INSERT INTO t ({columns}) VALUES ({values}) ON CONFLICT ({key}) DO UPDATE SET log = t.log || excluded.log;"]

    def edit(self):
        statements = [statement for _ in range(self.dice.choice([1, 1, 1, 3])) for statement in self.statements()]
        # Rows in one order, so that two transactions do not wait for each other.
        if statements:
            self.database.run(statements)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", help="sqlite:PATH or postgresql:FOLDER")
    parser.add_argument("--machines", nargs="*", help="whose rows a person edits in the cloud; nothing at the edge")
    parser.add_argument("--incarnation", required=True, help="what its marks begin with; never the same twice")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--pause", type=float, default=0.05, help="mean seconds between transactions")
    arguments = parser.parse_args()
    kind, place = arguments.store.split(":", 1)
    database = SQLite(place) if kind == "sqlite" else PostgreSQL(place)
    dice = random.Random(arguments.seed)
    editor = Editor(database, arguments.machines, arguments.incarnation, dice)
    while True:
        # The store may be away, or locked by the other person.
        with contextlib.suppress(sqlite3.OperationalError):
            editor.edit()
        time.sleep(dice.expovariate(1 / arguments.pause))


if __name__ == "__main__":
    main()
