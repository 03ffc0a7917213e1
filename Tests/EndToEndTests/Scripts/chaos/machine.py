"""One machine: the app's database, the app's processes, the agent, its line to the broker, and what is known of the facts that
it committed."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys

from databases import copy, looking_into, put_back, put_back_in_place
from processes import Process, die_with_parent

STREAMS = """
  - table: stock
    kind: snapshot
    synced_column: synced
  - table: sale
    kind: payload
  - name: reading
    kind: payload
  - name: emitted
    kind: payload
"""
FACTS = ("sale", "reading", "emitted")


class Emission:
    """A run of `drover emit`. Until it has said how many events it took, none of them is promised."""

    def __init__(self, process, lines):
        self.process = process
        self.lines = lines
        self.isCertain = False
        #: The machine went back to a time before it, or in the middle of it: none of it is promised any more.
        self.isUndone = False
        self.isInCopy = False

    def tend(self):
        if not self.isUndone and not self.process.isRunning and self.process.child.returncode == 0:
            self.isCertain = True


class Machine:
    def __init__(self, name, folder, drover, proxy, journal, seed, keepsFacts, rows=100):
        self.name = name
        self.folder = folder
        self.drover = drover
        self.proxy = proxy
        self.seed = seed
        #: A fact that the app has deleted cannot be sent again to a cloud that was put back.
        self.keepsFacts = keepsFacts
        self.database = f"{folder}/app.db"
        #: Drover's own file beside it.
        self.memory = f"{self.database}-drover.state"
        self.config = f"{folder}/edge.yaml"
        self.incarnations = 0
        self.emissions = []
        #: Facts that an older copy of the database knows nothing of: they may have reached the cloud, and need not.
        self.forgotten = {stream: {} for stream in FACTS}
        #: Rows of stock likewise, with the number of the last change that is still known: nobody tells the cloud that they are gone.
        self.forgotten_stock = {}
        self.copy = None
        os.mkdir(folder)
        with open(self.config, "w") as file:
            file.write(
                f"machine: {name}\ndatabase: ./app.db\nbroker: mqtt://127.0.0.1:{proxy.port}\nkeep_alive: 5s\n"
                # A small disk that fills up is a fault of its own here, and no reason to refuse before it is full.
                f"outbox: {{min_free_bytes: 0, min_free_inodes: 0}}\nstreams:{STREAMS}")
        self.agent = Process(f"agent of {name}", [drover, "edge", "--config", self.config], f"{folder}/edge.log")
        self.apps = [Process(f"app {number} of {name}", [], f"{folder}/app.log") for number in (1, 2)]
        subprocess.run(self.app_arguments("--prepare", journal, "--rows", str(rows)), check=True)

    def app_arguments(self, *more):
        self.incarnations += 1
        return [
            sys.executable, os.path.join(os.path.dirname(__file__), "app.py"), self.database,
            "--seed", str(self.seed * 1_000_003 + self.incarnations), "--incarnation", f"{self.name}.{self.incarnations}", *more]

    def start_app(self, app):
        app.arguments = self.app_arguments(*(["--keep-facts"] if self.keepsFacts else []))
        app.start()

    @property
    def processes(self):
        return [self.agent, *self.apps]

    @property
    def isAttached(self):
        try:
            with looking_into(self.database) as database:
                return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'drover_intake'").fetchone())
        except sqlite3.OperationalError:
            return False

    # drover emit

    def emit(self, count, environment={}):
        lines, run = {}, len(self.emissions)
        path = f"{self.folder}/emit-{run}.jsonl"
        with open(path, "w") as file:
            for number in range(count):
                token = f"{self.name}.e{run}-{number}"
                body = json.dumps({"token": token, "kelvin": number / 7})
                lines[token] = body
                file.write(body + "\n")
        arguments = [self.drover, "emit", "--config", self.config, "--stream", "emitted", "--id-field", "token", path]
        process = Process(f"emit {run} of {self.name}", arguments, f"{self.folder}/emit-{run}.log")
        process.environment = environment
        process.start()
        process.isWanted = False  # it ends by itself
        self.emissions.append(Emission(process, lines))

    def tend_emissions(self):
        for emission in self.emissions:
            emission.tend()

    # What was committed

    def ledger(self, mode="ro"):
        """By stream: {token: content} of what has to arrive, the same of what may, and pairs of which one has to."""
        certain, maybe, rivals = {stream: {} for stream in FACTS}, {stream: dict(of) for stream, of in self.forgotten.items()}, {}
        with looking_into(self.database, 30, mode) as database:
            for token, stream, content, rival in database.execute("SELECT * FROM ledger_fact"):
                certain[stream][token] = content
                if rival:
                    rivals[token] = rival
        for emission in self.emissions:
            (certain if emission.isCertain else maybe)["emitted"].update(emission.lines)
        for stream in FACTS:
            for token in certain[stream]:
                maybe[stream].pop(token, None)
        return certain, maybe, rivals

    def stock_changes(self):
        with looking_into(self.database, 30) as database:
            return dict(database.execute("SELECT id, change FROM ledger_stock"))

    def events(self):
        with looking_into(self.database, 30) as database:
            changes, facts = database.execute("SELECT changes, facts FROM ledger_count").fetchone()
        return changes + facts + sum(len(emission.lines) for emission in self.emissions if emission.isCertain)

    # Backups

    def take_copy(self):
        # First what remembers the outbox, so that it is not ahead of the copy.
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(self.memory, f"{self.folder}/copy.state")
        self.copy = f"{self.folder}/copy.db"
        copy(self.database, self.copy)
        for emission in self.emissions:
            emission.isInCopy = emission.isCertain

    def put_back(self, withMemory, inPlace=False):
        """No app writes; the agent may go on. What is younger than the copy is no longer promised."""
        # Killed in the middle of a commit it may need a recovery before it can be read; and nobody else is there to do it.
        certain, _, _ = self.ledger(mode="rw")
        changes = self.stock_changes()
        (put_back_in_place if inPlace else put_back)(self.copy, self.database)
        now = self.stock_changes()
        last = max(now.values(), default=0)
        self.forgotten_stock |= {key: last for key in changes if changes[key] != now.get(key)}
        self.copy = None
        with contextlib.suppress(FileNotFoundError):
            if withMemory:
                os.replace(f"{self.folder}/copy.state", self.memory)
        for emission in self.emissions:
            if not emission.isInCopy:
                emission.isCertain = False
                emission.isUndone = True
        kept, _, _ = self.ledger()
        for stream in FACTS:
            for token, content in certain[stream].items():
                if token not in kept[stream]:
                    self.forgotten[stream][token] = content
