"""The comparison at the end, with neither side's code: what the apps' ledgers say was committed, against what is in the cloud."""

import collections
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile

from app import exact
from databases import faults, looking_into
from machine import FACTS

COMPARE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "compare.py")
ROWS = {
    "sale": "SELECT token, till, number, price, note FROM sale WHERE machine_id = ?",
    "reading": "SELECT body FROM reading WHERE machine_id = ?",
    "emitted": "SELECT body FROM emitted WHERE machine_id = ?",
}


class Verdict:
    """`lost` and `doubled` count facts and rows; `violations` says everything that must not be."""

    def __init__(self, machines, cloud, wentBack, withoutMark=frozenset()):
        self.machines = machines
        self.cloud = cloud
        #: Facts that had a mark until `drover detach` removed it: the next attachment sends each once more, without the mark
        #: (docs/guarantees.md, "A key that is used again past the triggers").
        self.withoutMark = withoutMark
        #: A database was put back, so a new epoch had to begin, in which old dead letters may come again.
        self.wentBack = wentBack
        self.violations = []
        self.lost = self.doubled = self.refused = self.facts = self.drifted = 0
        for path, found in [("the cloud", cloud.faults()), *((machine.database, faults(machine.database)) for machine in machines)]:
            for line in found[:3]:
                self.add(f"integrity_check of {path}: {line}")
        try:
            self.judge()
        except sqlite3.DatabaseError as error:
            self.add(f"the databases could not be compared: {error}")

    def judge(self):
        self.read_cloud()
        for machine in self.machines:
            self.judge_facts(machine)
            self.judge_stock(machine)
            self.judge_bookkeeping(machine)
        for letter, count in self.unexplained.items():
            self.add(f"a dead letter that nothing explains: {letter} ({count} times)")

    def add(self, violation):
        self.violations.append(violation)

    def some(self, tokens):
        tokens = sorted(tokens)
        return ", ".join(tokens[:5]) + (f" and {len(tokens) - 5} more" if len(tokens) > 5 else "")

    def read_cloud(self):
        self.rows = {}
        self.letters = collections.Counter()
        self.unexplained = collections.Counter()
        with self.cloud.looking(30) as database:
            known = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for machine in self.machines:
                for stream in FACTS:
                    rows = database.execute(ROWS[stream], (machine.name,)).fetchall() if stream in known else []
                    self.rows[machine.name, stream] = [content_of(stream, row) for row in rows]
            for machine, stream, reason, detail, raw, count in database.execute(
                    "SELECT machine_id, stream, reason, detail, raw, count FROM drover_dead_letter"):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    if reason == "conflict":
                        self.letters[machine, stream, json.loads(raw)["body"]["token"]] += count
                        continue
                self.unexplained[f"{reason} of {stream} of {machine}: {detail}: {bytes(raw[:200])}"] += count
            self.refused = sum(self.letters.values()) + sum(self.unexplained.values())
            self.applied = {
                (machine, stream): applied for machine, stream, applied in
                database.execute("SELECT machine_id, stream, applied FROM drover_progress")}
            self.epochs = collections.Counter(
                row[0] for row in database.execute("SELECT DISTINCT machine_id, epoch FROM drover_received"))

    # Facts: each one once, with its content, or among the dead letters where a rival has its place

    def judge_facts(self, machine):
        certain, maybe, rivals = machine.ledger()
        for stream in FACTS:
            where = f"{stream} of {machine.name}"
            rows = self.rows[machine.name, stream]
            times = collections.Counter(token for token, _ in rows)
            letters = {token: count for (of, name, token), count in self.letters.items() if (of, name) == (machine.name, stream)}
            self.facts += len(certain[stream])

            missing = [token for token in certain[stream] if token not in times and token not in letters]
            buried = {} if self.wentBack else letters
            doubled = [
                token for token in times.keys() | buried.keys()
                if times[token] + buried.get(token, 0) > 1 + (token in self.withoutMark)]
            altered = [
                token for token, content in rows if content != certain[stream].get(token, maybe[stream].get(token, content))]
            foreign = [token for token in times if token not in certain[stream] and token not in maybe[stream]]
            unfair = [token for token in letters if token not in rivals and token not in maybe[stream]]
            unfair += [token for token in letters if token in rivals and token not in times and rivals[token] not in times]
            self.lost += len(missing)
            self.doubled += len(doubled)
            for tokens, what in [
                    (missing, "neither in the cloud nor among the dead letters"), (doubled, "more than once"),
                    (altered, "in the cloud with another content"), (foreign, "in the cloud and never committed"),
                    (unfair, "dead letters without a rival in the cloud")]:
                if tokens:
                    self.add(f"{where}: {len(tokens)} facts are {what}: {self.some(tokens)}")
            # The counter is committed with the row, so it tells of a fact that was written, deleted and written again.
            applied = self.applied.get((machine.name, stream), 0)
            if applied != len(rows):
                self.doubled += max(0, applied - len(rows) - len(missing))
                self.add(f"{where}: {applied} events were applied and {len(rows)} rows are there")

    # Stock: the same rows in the ledger, at the edge and in the cloud

    def judge_stock(self, machine):
        with looking_into(machine.database, 30) as database:
            rows = {row[0]: exact(row) for row in database.execute("SELECT id, name, amount, weight, picture FROM stock")}
            ledger = dict(database.execute("SELECT id, content FROM ledger_stock WHERE content IS NOT NULL"))
        if rows != ledger:
            wrong = {key for key in rows.keys() | ledger.keys() if rows.get(key) != ledger.get(key)}
            self.add(f"stock of {machine.name}: the app's own rows are not what the app wrote: {sorted(wrong)[:5]}")
        with tempfile.NamedTemporaryFile() as file:
            self.cloud.save(file.name)
            if machine.forgotten_stock:
                self.remove_leftovers(machine, rows.keys(), file.name)
            compared = subprocess.run(
                [sys.executable, COMPARE, machine.database, file.name, machine.name, "--tables", "stock",
                 "--ignore-column", "stock.synced=1"], capture_output=True, text=True)
        if compared.returncode:
            output = compared.stdout + compared.stderr
            self.lost += output.count("missing in the cloud")
            self.add(f"stock of {machine.name}: {output.strip()}")

    def remove_leftovers(self, machine, keys, path):
        """From a copy of the cloud the rows that the machine had, and knows nothing of since its database was put back: that is drift, which is
        counted and is no loss."""
        with contextlib.closing(sqlite3.connect(path)) as database:
            changes = machine.stock_changes()
            for key, last in machine.forgotten_stock.items():
                if key in keys or changes.get(key, 0) > last:
                    continue
                deleted = database.execute("DELETE FROM stock WHERE machine_id = ? AND id = ?", (machine.name, key))
                self.drifted += deleted.rowcount
            database.commit()

    # Nothing that is over is kept

    def judge_bookkeeping(self, machine):
        with looking_into(machine.database, 30) as database:
            waiting = database.execute(
                "SELECT count(*) FROM drover_outbox AS entry JOIN drover_stream ON number = entry.stream WHERE seq > confirmed_through"
            ).fetchone()[0]
            kept = database.execute("SELECT count(*) FROM drover_kept").fetchone()[0]
            if waiting or kept:
                self.add(f"{machine.name}: {waiting} unconfirmed rows are left in drover_outbox, {kept} in drover_kept")
        if self.epochs[machine.name] > 1 and not self.wentBack:
            self.add(f"{machine.name}: {self.epochs[machine.name]} epochs, and no database was put back")


def content_of(stream, row):
    """(token, content) as the ledger has it."""
    if stream == "sale":
        token, till, number, price, note = row
        return token, exact((till, number, token, price, note))
    return json.loads(row[0])["token"], row[0]
