#!/usr/bin/env python3
"""The app on a machine, which knows nothing of Drover but drover_intake, and keeps a ledger of what it committed.

What it writes and what the ledger says of it are one transaction, so the ledger is exact whenever the app is killed. The ledger's tables
are not captured. SIGTERM ends it after the transaction that it is in.
"""

import argparse
import json
import random
import signal
import sqlite3
import struct
import sys
import time

#: Stock's keys: few, so that one is often changed again, deleted, and taken by another row.
KEYS = 300

TABLES = """
    CREATE TABLE stock (
      id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount, weight REAL, picture BLOB, synced INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE sale (
      till TEXT, number INTEGER, token TEXT NOT NULL, price REAL, note, PRIMARY KEY (till, number));
    -- What a key holds, NULL when it is gone, and the number of its last change.
    CREATE TABLE ledger_stock (id INTEGER PRIMARY KEY, content TEXT, change INTEGER NOT NULL);
    -- rival: another fact was given the same ID on purpose; one of the two has to become a dead letter.
    CREATE TABLE ledger_fact (
      token TEXT PRIMARY KEY, stream TEXT NOT NULL, content TEXT NOT NULL, rival TEXT) WITHOUT ROWID;
    CREATE TABLE ledger_count (changes INTEGER NOT NULL, facts INTEGER NOT NULL);
    INSERT INTO ledger_count VALUES (0, 0);
"""


def exact(values):
    """Text that is the same for two rows exactly when every value has the same class and bytes."""
    shown = []
    for value in values:
        if isinstance(value, float):
            shown.append("real " + struct.pack(">d", value).hex())
        elif isinstance(value, bytes):
            shown.append("blob " + value.hex())
        else:
            shown.append(value)
    return json.dumps(shown)


class App:
    def __init__(self, connection, chance, incarnation):
        self.connection = connection
        self.chance = chance
        self.incarnation = incarnation
        self.made = 0
        self.isEnding = False

    def value(self):
        chance = self.chance
        return chance.choice([
            None, chance.randint(-9, 9), chance.randint(-(2**63), 2**63 - 1), chance.random() * 10 ** chance.randint(-300, 300),
            "", "007", 'Käse "jung" 🧀\n', "x" * chance.randint(1, 400), chance.randbytes(chance.randint(0, 60))])

    def weight(self):
        return self.chance.choice([None, self.chance.random(), 0.1 + 0.2, 5e-324, float("inf"), 3.0])

    def token(self):
        self.made += 1
        return f"{self.incarnation}-{self.made}"

    # Stock: what a keyed thing is now

    def taken(self):
        return self.connection.execute("SELECT id FROM stock ORDER BY random() LIMIT 1").fetchone()

    def put(self):
        key = self.chance.randint(1, KEYS)
        sql = self.chance.choice([
            "INSERT OR REPLACE INTO stock (id, name, amount, weight, picture) VALUES (?, ?, ?, ?, ?)",
            """INSERT INTO stock (id, name, amount, weight, picture) VALUES (?, ?, ?, ?, ?)
               ON CONFLICT (id) DO UPDATE SET name = excluded.name, amount = excluded.amount, weight = excluded.weight,
                                              picture = excluded.picture, synced = 0"""])
        self.connection.execute(sql, (key, self.token(), self.value(), self.weight(), self.chance.randbytes(9)))
        return [key]

    def update(self):
        row = self.taken()
        if not row:
            return self.put()
        self.connection.execute("UPDATE stock SET amount = ?, name = ?, synced = 0 WHERE id = ?", (self.value(), self.token(), row[0]))
        return [row[0]]

    def update_many(self):
        start = self.chance.randint(1, KEYS)
        keys = [row[0] for row in self.connection.execute("SELECT id FROM stock WHERE id BETWEEN ? AND ?", (start, start + 80))]
        self.connection.executemany("UPDATE stock SET amount = ?, synced = 0 WHERE id = ?", [(self.value(), key) for key in keys])
        return keys

    def delete(self):
        row = self.taken()
        if not row:
            return self.put()
        self.connection.execute("DELETE FROM stock WHERE id = ?", row)
        return [row[0]]

    def rekey(self):
        row = self.taken()
        key = self.chance.randint(1, KEYS)
        if not row or self.connection.execute("SELECT 1 FROM stock WHERE id = ?", (key,)).fetchone():
            return self.put()
        self.connection.execute("UPDATE stock SET id = ?, synced = 0 WHERE id = ?", (key, row[0]))
        return [row[0], key]

    def change_stock(self):
        changes = [self.put, self.update, self.delete, self.rekey, self.update_many]
        touched = self.chance.choices(changes, [5, 12, 3, 3, 0.4])[0]()
        for key in touched:
            row = self.connection.execute("SELECT id, name, amount, weight, picture FROM stock WHERE id = ?", (key,)).fetchone()
            self.connection.execute("UPDATE ledger_count SET changes = changes + 1")
            self.connection.execute(
                "INSERT OR REPLACE INTO ledger_stock SELECT ?, ?, changes FROM ledger_count", (key, exact(row) if row else None))

    # Facts: sales in a table, readings through the intake

    def note_fact(self, stream, token, content, rival=None):
        self.connection.execute("INSERT INTO ledger_fact VALUES (?, ?, ?, ?)", (token, stream, content, rival))
        self.connection.execute("UPDATE ledger_count SET facts = facts + 1")

    def sell(self):
        token = self.token()
        row = (self.incarnation, self.made, token, self.weight(), self.value())
        self.connection.execute("INSERT INTO sale VALUES (?, ?, ?, ?, ?)", row)
        self.note_fact("sale", token, exact(row))

    def tidy(self):
        """Sales that the app has no more use for, some of them before they could be sent. Only its own: rows of before Drover came
        are events when Drover finds them, not before."""
        where = self.chance.choice([
            "number < (SELECT max(number) FROM sale WHERE till = ?1) - 500", "number > (SELECT max(number) FROM sale WHERE till = ?1) - 3"])
        self.connection.execute(f"DELETE FROM sale WHERE till = ?1 AND {where}", (self.incarnation,))

    def read(self):
        token = self.token()
        name = token if self.chance.random() < 0.5 else None
        body = json.dumps({"token": token, "celsius": self.chance.random() * 40, "at": "Tür 3"}, ensure_ascii=self.chance.random() < 0.5)
        rival = None
        if name and self.chance.random() < 0.02:
            rival = self.token()
            other = json.dumps({"token": rival, "celsius": None})
        self.connection.execute("INSERT INTO drover_intake (stream, local_id, body) VALUES ('reading', ?, ?)", (name, body))
        self.note_fact("reading", token, body, rival)
        if rival:
            self.connection.execute("INSERT INTO drover_intake (stream, local_id, body) VALUES ('reading', ?, ?)", (name, other))
            self.note_fact("reading", rival, other, token)

    # Transactions

    def transaction(self, kinds):
        size = self.chance.choices([1, self.chance.randint(2, 8), self.chance.randint(50, 300)], [80, 18, 0.6])[0]
        self.connection.execute("BEGIN IMMEDIATE")
        for kind in self.chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds], k=size):
            kind()
        self.connection.execute("ROLLBACK" if self.chance.random() < 0.03 else "COMMIT")

    def run(self, pause, keepsFacts):
        signal.signal(signal.SIGTERM, self.end)
        kinds = [(self.change_stock, 8), (self.sell, 6), (self.read, 4), (self.tidy, 0 if keepsFacts else 0.5)]
        while not self.isEnding:
            self.transaction(kinds)
            time.sleep(self.chance.expovariate(1 / pause))

    def end(self, *_):
        self.isEnding = True

    def prepare(self, rows):
        """The database as it is before Drover comes."""
        self.connection.executescript(TABLES)
        for _ in range(rows):
            self.transaction([(self.change_stock, 1), (self.sell, 1)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", metavar="DB")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--incarnation", required=True, help="what its tokens begin with; never the same twice")
    parser.add_argument("--pause", type=float, default=0.02, help="mean seconds between transactions")
    parser.add_argument("--keep-facts", action="store_true", help="delete no sales")
    parser.add_argument("--prepare", metavar="JOURNAL", help="make the database in this journal mode, and end")
    parser.add_argument("--rows", type=int, default=100, help="transactions that --prepare makes (default 100)")
    arguments = parser.parse_args()
    # An app of its time waits for a lock, but not for ever: a write that fails after this is Drover's fault.
    connection = sqlite3.connect(arguments.database, timeout=20, isolation_level=None)
    app = App(connection, random.Random(arguments.seed), arguments.incarnation)
    if arguments.prepare:
        connection.execute(f"PRAGMA journal_mode = {arguments.prepare}")
        app.prepare(arguments.rows)
    else:
        app.run(arguments.pause, arguments.keep_facts)
    connection.close()


if __name__ == "__main__":
    sys.exit(main())
