#!/usr/bin/env python3
"""The app of a medicine dispenser, as it was before Drover came: it knows nothing of Drover and keeps writing.

Creates its database with three tables (stock snapshots, stock movements, test results), then inserts, updates and
deletes until the time is over or it gets SIGTERM or SIGINT. Prints one line of JSON at the end: what it wrote, how many
writes failed and how long the slowest one took, which is how one sees that the app did not notice anything.
"""

import argparse
import json
import random
import signal
import sqlite3
import sys
import threading
import time

SCHEMA = """
CREATE TABLE IF NOT EXISTS machine_activation(
  machine_id TEXT PRIMARY KEY, activated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS local_stock_snapshots(
  id INTEGER PRIMARY KEY, stock_json TEXT NOT NULL, average_consumption REAL, synced INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS local_stock_movements(
  id INTEGER PRIMARY KEY AUTOINCREMENT, slot INTEGER NOT NULL, product TEXT NOT NULL, quantity INTEGER NOT NULL,
  reason TEXT NOT NULL, moved_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS test_results(
  id INTEGER PRIMARY KEY AUTOINCREMENT, test TEXT NOT NULL, passed INTEGER NOT NULL, measured REAL, trace BLOB,
  tested_at TEXT NOT NULL);
"""
PRODUCTS = ["Ibuprofène 400 mg", "Paracetamol 500 mg", "Amoxicillin 250 mg", "Loratadin 10 mg", "Ωmega-3", "オメプラゾール"]


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


class Dispenser:
    def __init__(self, connection, machine, chance):
        self.connection = connection
        self.chance = chance
        self.counts = {"inserted": 0, "updated": 0, "deleted": 0, "failed": 0}
        self.slowest = 0.0
        connection.executescript(SCHEMA)
        with connection:
            connection.execute("INSERT OR IGNORE INTO machine_activation VALUES (?, ?)", (machine, now()))

    def write(self, action):
        """One transaction, as an app does it: with Python's defaults, and without a thought for anybody else."""
        started = time.monotonic()
        try:
            with self.connection:
                for kind, rows in action().items():
                    self.counts[kind] += rows
        except sqlite3.OperationalError as error:
            self.counts["failed"] += 1
            print(f"write failed: {error}", file=sys.stderr)
        self.slowest = max(self.slowest, time.monotonic() - started)

    def stock(self):
        slots = [{"slot": slot, "product": self.chance.choice(PRODUCTS), "left": self.chance.randint(0, 60)} for slot in range(1, 5)]
        return json.dumps(slots, ensure_ascii=False)

    def consumption(self):
        return None if self.chance.random() < 0.1 else round(self.chance.uniform(0, 12), 3) / 3

    def some_snapshot(self):
        found = self.connection.execute("SELECT id FROM local_stock_snapshots").fetchall()
        return self.chance.choice(found)[0] if found else None

    def take_stock(self):
        self.connection.execute(
            "INSERT INTO local_stock_snapshots(stock_json, average_consumption) VALUES (?, ?)",
            (self.stock(), self.consumption()))
        return {"inserted": 1}

    def dispense(self):
        """The stock changes and the movement is noted: two tables, one transaction."""
        snapshot = self.some_snapshot()
        if snapshot is None:
            return self.take_stock()
        updated = self.connection.execute(
            "UPDATE local_stock_snapshots SET stock_json = ?, average_consumption = ?, synced = 0 WHERE id = ?",
            (self.stock(), self.consumption(), snapshot)).rowcount
        self.connection.execute(
            "INSERT INTO local_stock_movements(slot, product, quantity, reason, moved_at) VALUES (?, ?, ?, ?, ?)",
            (self.chance.randint(1, 40), self.chance.choice(PRODUCTS), -self.chance.randint(1, 3), "dispensed", now()))
        return {"updated": updated, "inserted": 1}

    def test(self):
        self.connection.execute(
            "INSERT INTO test_results(test, passed, measured, trace, tested_at) VALUES (?, ?, ?, ?, ?)",
            (self.chance.choice(["door", "cooling", "scale"]), self.chance.random() < 0.95, self.chance.gauss(4.5, 0.4),
             self.chance.randbytes(24), now()))
        return {"inserted": 1}

    def forget(self):
        snapshot = self.some_snapshot()
        if snapshot is None:
            return {}
        return {"deleted": self.connection.execute("DELETE FROM local_stock_snapshots WHERE id = ?", (snapshot,)).rowcount}

    def act(self):
        dice = self.chance.random()
        if dice < 0.30:
            self.write(self.take_stock)
        elif dice < 0.75:
            self.write(self.dispense)
        elif dice < 0.85:
            self.write(self.test)
        else:
            self.write(self.forget)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", required=True, help="the app's SQLite file; created if it is not there")
    parser.add_argument("--machine", default="MAH001", help="what stands in machine_activation (default MAH001)")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds; without it only a signal stops")
    parser.add_argument("--rate", type=float, default=10, help="transactions a second (default 10)")
    parser.add_argument("--initial", type=int, default=0, help="transactions at once at the start")
    parser.add_argument("--seed", type=int, help="the same seed makes the same choices")
    arguments = parser.parse_args()
    if arguments.rate <= 0:
        parser.error("--rate must be above 0")

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    connection = sqlite3.connect(arguments.database)
    dispenser = Dispenser(connection, arguments.machine, random.Random(arguments.seed))
    for _ in range(arguments.initial):
        if stop.is_set():
            break
        dispenser.act()

    started = time.monotonic()
    acts = 0
    while not stop.is_set():
        due = started + acts / arguments.rate
        if arguments.seconds is not None and due >= started + arguments.seconds:
            stop.wait(max(0.0, started + arguments.seconds - time.monotonic()))
            break
        if stop.wait(max(0.0, due - time.monotonic())):
            break
        dispenser.act()
        acts += 1
    connection.close()
    print(json.dumps({**dispenser.counts, "slowest_write_ms": round(dispenser.slowest * 1000, 1)}))
    return 1 if dispenser.counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
