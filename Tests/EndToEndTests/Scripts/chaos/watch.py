"""Watches a run from outside: how long recovery takes, and that what the cloud has never goes back."""

import contextlib
import sqlite3
import threading
import time

from databases import looking_into


#: Before any epoch and version.
NEVER = [0, 0]


class Watch:
    """A thread that looks every tenth of a second at every machine's outbox and, a little more seldom, at the cloud."""

    def __init__(self, machines, cloud):
        self.machines = machines
        self.cloud = cloud
        self.violations = []
        self.recoveries = []
        self.samples = 0
        #: Rounds that are not recovered from: for each machine the number that has to be confirmed.
        self.marks = []
        self.lastRestart = time.monotonic()
        self.fronts = {}
        self.versions = {}
        #: Held while a database is exchanged.
        self.lock = threading.Lock()
        self.isEnding = threading.Event()
        self.thread = threading.Thread(target=self.run, name="watch", daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.isEnding.set()
        if self.thread.is_alive():
            self.thread.join()

    def run(self):
        turn = 0
        while not self.isEnding.wait(0.1):
            # Busy, or in need of a recovery that is not ours to do: another time.
            with self.lock, contextlib.suppress(sqlite3.OperationalError):
                self.look_for_recovery()
            if turn % 3 == 0:
                with self.lock, contextlib.suppress(sqlite3.OperationalError):
                    self.look_at_cloud()
            turn += 1

    # Recovery: what was in the outboxes when the last victim was back is confirmed

    def restarted(self, isNew=True):
        with self.lock:
            self.lastRestart = time.monotonic()
            if isNew:
                self.marks.append({machine.name: None for machine in self.machines})

    @property
    def isRecovered(self):
        return not self.marks

    def look_for_recovery(self):
        if not self.marks:
            return
        for machine in self.machines:
            with looking_into(machine.database, 1) as database:
                # What is confirmed may stay for a while, for a cloud that loses it.
                oldest, newest, last = database.execute(
                    """
                    SELECT (SELECT min(entry.seq) FROM drover_outbox AS entry JOIN drover_stream AS stream ON number = entry.stream
                             WHERE entry.seq > stream.confirmed_through),
                           (SELECT max(seq) FROM drover_outbox), seq FROM drover_clock
                    """).fetchone()
            for mark in self.marks:
                if mark.get(machine.name, "gone") is None:
                    mark[machine.name] = max(newest or 0, last)
                if machine.name in mark and (oldest is None or oldest > mark[machine.name]):
                    del mark[machine.name]
        now = time.monotonic()
        self.recoveries += [now - self.lastRestart for mark in self.marks if not mark]
        self.marks = [mark for mark in self.marks if mark]

    # Never back

    def look_at_cloud(self):
        with self.cloud.looking(2) as database:
            fronts = {}
            for machine, epoch, stream, after, through in database.execute(
                    "SELECT machine_id, epoch, stream, after_seq, through_seq FROM drover_received"):
                fronts.setdefault((machine, epoch, stream), []).append((after, through))
            versions = {}
            known = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            queries = ["SELECT machine_id, local_id, epoch, version FROM drover_tombstone WHERE stream = 'stock'"]
            if "stock" in known:
                queries.append("SELECT machine_id, CAST(id AS TEXT), drover_epoch, drover_version FROM stock")
            for query in queries:
                for machine, key, *version in database.execute(query):
                    versions[machine, key] = max(version, versions.get((machine, key), NEVER))
        self.samples += 1
        for origin, intervals in self.fronts.items():
            now = fronts.get(origin, [])
            for after, through in intervals:
                if not any(start <= after and through <= end for start, end in now):
                    self.violations.append(
                        f"the cloud forgot that it has received {after} to {through} of {'/'.join(origin)}; it has {now[:5]}")
        for key, version in self.versions.items():
            if versions.get(key, NEVER) < version:
                self.violations.append(f"stock {key} went back from version {version} to {versions.get(key, 'nothing')}")
        self.fronts, self.versions = fronts, versions

    def forget(self):
        """The cloud was put back to an older copy: that is the one way in which it may go back. The lock is held."""
        self.fronts, self.versions = {}, {}
