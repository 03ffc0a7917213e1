"""The kill loop for rows that both sides edit.

An app and a person in the cloud edit the same few rows, while broker, consumer and agent are killed. Each edit appends a mark of its own to the text that
its editor sees, so a text names all edits that it has seen. In the end both sides are equal, and each mark is in the row, in a listed conflict, or in a text
that its editor deleted after reading it. The last line of the output is JSON.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

ROWS = 8


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Rig:
    """The processes and both databases, in a folder of their own."""

    def __init__(self, folder, drover):
        self.folder = pathlib.Path(folder)
        self.app_path, self.store_path = self.folder / "app.db", self.folder / "cloud.db"
        broker = f"mqtt://127.0.0.1:{self.write_broker()}"
        self.app = sqlite3.connect(self.app_path, timeout=30, isolation_level=None)
        self.app.execute("PRAGMA journal_mode = WAL")
        self.app.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, log TEXT NOT NULL)")
        (self.folder / "edge.yaml").write_text(
            f"machine: M1\ndatabase: {self.app_path}\nbroker: {broker}\n"
            "streams:\n  - {table: t, kind: snapshot, direction: both, natural_key: true}\n")
        (self.folder / "cloud.yaml").write_text(f"store: sqlite:{self.store_path}\nbroker: {broker}\n")
        self.commands = {
            "broker": ["mosquitto", "-c", str(self.folder / "broker.conf")],
            "cloud": [drover, "cloud", "--config", str(self.folder / "cloud.yaml")],
            "edge": [drover, "edge", "--config", str(self.folder / "edge.yaml")],
        }
        self.running = {}

    def write_broker(self):
        port = free_port()
        (self.folder / "broker.conf").write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {self.folder}/\n"
            "autosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\n")
        return port

    def start(self, name):
        log = open(self.folder / f"{name}.log", "a")
        self.running[name] = subprocess.Popen(self.commands[name], stdout=log, stderr=subprocess.STDOUT)

    def kill(self, name):
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()

    def stop(self):
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def store(self):
        return sqlite3.connect(self.store_path, timeout=30, isolation_level=None)

    def ask_store(self, sql):
        connection = self.store()
        try:
            return connection.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return None  # the table is not there yet
        finally:
            connection.close()

    def rows(self):
        sql = "SELECT id, log FROM t ORDER BY id"
        return self.app.execute(sql).fetchall(), self.ask_store(sql)

    def waiting(self):
        return self.app.execute(
            "SELECT count(*) FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream"
            " WHERE entry.seq > stream.confirmed_through").fetchone()[0]


class Editors:
    """The app and the person, with a ledger of what they did."""

    def __init__(self, rig, dice):
        self.rig, self.dice = rig, dice
        self.marks, self.deleted, self.count = {}, [], 0

    def edit(self):
        row, deletes = self.dice.randrange(ROWS), self.dice.random() < 0.1
        if self.dice.random() < 0.5:
            self.change(self.rig.app, "e", row, deletes, "INSERT INTO t (id, log) VALUES (?, ?)")
            return
        connection = self.rig.store()
        try:
            self.change(connection, "c", row, deletes, "INSERT INTO t (machine_id, id, log) VALUES ('M1', ?, ?)")
        finally:
            connection.close()

    def change(self, database, side, row, deletes, insert):
        database.execute("BEGIN IMMEDIATE")
        found = database.execute("SELECT log FROM t WHERE id = ?", (row,)).fetchone()
        if found and deletes:
            database.execute("DELETE FROM t WHERE id = ?", (row,))
            self.deleted.append((row, found[0]))
        else:
            self.count += 1
            mark = f"{side}{self.count}."
            self.marks.setdefault(row, []).append(mark)
            if found:
                database.execute("UPDATE t SET log = ? WHERE id = ?", (found[0] + mark, row))
            else:
                database.execute(insert, (row, mark))
        database.execute("COMMIT")


def settle(rig):
    """Until both sides have been equal, with nothing on its way, for a while."""
    calm, deadline = 0, time.time() + 180
    while calm < 15 and time.time() < deadline:
        app, store = rig.rows()
        calm = calm + 1 if app == store and rig.waiting() == 0 else 0
        time.sleep(0.2)


def judge(rig, editors):
    app, store = rig.rows()
    faults = [] if app == store else [f"the sides differ: {app} and {store}"]
    conflicts = rig.ask_store("SELECT local_id, content FROM drover_conflict")
    present = dict(app)
    for row, marks in editors.marks.items():
        texts = [present.get(row, "")] + [content or "" for id, content in conflicts if id == str(row)]
        texts += [text for deleted, text in editors.deleted if deleted == row]
        lost = [mark for mark in marks if not any(mark in text for text in texts)]
        if lost:
            faults.append(f"row {row}: {lost} are lost without a trace")
    twice = [conflict for conflict in set(conflicts) if conflicts.count(conflict) > 1 and conflict[1]]
    return len(conflicts), faults + [f"listed twice: {conflict}" for conflict in twice]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = options.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="drover-two-way-") as folder:
        rig = Rig(folder, os.environ.get("DROVER", "drover"))
        editors = Editors(rig, dice)
        try:
            for name in rig.commands:
                rig.start(name)
            rig.app.execute("INSERT INTO t VALUES (0, 'first.')")
            while not rig.ask_store("SELECT * FROM t"):
                time.sleep(0.05)
            for _ in range(options.kills):
                victim = dice.choice(["cloud", "edge", "broker", "cloud", "edge"])
                rig.kill(victim)
                for _ in range(dice.randrange(1, 6)):
                    editors.edit()
                    time.sleep(dice.random() * 0.02)
                rig.start(victim)
                for _ in range(dice.randrange(10)):
                    editors.edit()
                    time.sleep(dice.random() * 0.05)
                time.sleep(dice.random() * 0.5)
            settle(rig)
            conflicts, faults = judge(rig, editors)
            if faults:
                for name in rig.commands:
                    print(f"{name}: {(rig.folder / f'{name}.log').read_text()[-3000:]}", file=sys.stderr)
        finally:
            rig.stop()
    print(json.dumps({
        "seed": options.seed, "kills": options.kills, "edits": editors.count, "conflicts": conflicts, "faults": faults}))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
