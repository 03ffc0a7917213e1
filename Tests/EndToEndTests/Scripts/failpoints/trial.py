"""One trial: a fresh world, one program that meets its fail point, everything after it without one, and the verdict.

The program under trial is the agent, the consumer, or a run of `drover emit` or `drover detach`. The app writes in between, and
keeps its own ledger (../chaos/app.py).
"""

import contextlib
import dataclasses
import os
import random
import signal
import sqlite3
import time
import types

from app import App
from databases import faults, looking_into
from machine import Machine
from processes import Broker, Process
from shim import DEATHS, FailPoint
from stores import SQLiteStore
from verdict import Verdict

#: A test of its own stands behind each wait: what has not come by then does not come.
PATIENCE = 60.0
#: How long a full disk stays full once it was noticed, and how many calls may fail on it before.
FULL_SECONDS, FULL_CALLS = 0.5, 20
PROGRAMS = ("agent", "consumer", "emit", "detach")
#: What stays beside a machine's database while it is attached.
BESIDE = {"", "-wal", "-shm", "-journal", "-drover.lock", "-drover.state", "-drover.state.new"}


@dataclasses.dataclass
class Result:
    """What became of one fail point. `failure` is where it struck: None when the program did not come so far."""

    number: int
    failure: tuple = None
    failures: int = 0
    calls: int = None
    #: The program noticed, and said so.
    said: str = None
    #: It ended by itself because of it, with this status.
    ended: int = None
    violations: list = dataclasses.field(default_factory=list)


class Trial:
    def __init__(self, setting, folder, program, journal, kind, number):
        self.setting = setting
        self.program = program
        self.journal = journal
        self.number = number
        self.folder = folder
        self.result = Result(number)
        self.chance = random.Random(number)
        self.filled = None
        for disk in ("edge", "cloud"):
            os.makedirs(f"{folder}/{disk}", exist_ok=True)
        self.line = types.SimpleNamespace(target=None)
        self.broker = Broker(folder, setting.template, [self.line])
        self.broker.start()
        self.machine = Machine(
            "M1", f"{folder}/edge/M1", setting.drover, types.SimpleNamespace(port=self.line.target), journal, 7, False, rows=6)
        with open(f"{folder}/cloud/cloud.yaml", "w") as file:
            file.write(f"broker: mqtt://127.0.0.1:{self.line.target}\nstore: sqlite:./cloud.db\nkeep_alive: 5s\n")
        self.cloud = f"{folder}/cloud/cloud.db"
        self.consumer = Process(
            "consumer", [setting.drover, "cloud", "--config", f"{folder}/cloud/cloud.yaml"], f"{folder}/cloud.log")
        self.point = FailPoint(
            setting.library, f"{folder}/cloud" if program == "consumer" else self.machine.folder, kind, number)
        #: Facts that were committed while nothing could be flushed.
        self.unflushed = set()
        self.connection = None
        self.wasAttached = False

    # From the first process to the verdict

    def whole(self):
        try:
            self.live()
        except Stuck as stuck:
            self.violation(str(stuck))
        finally:
            self.close_app()
            for process in self.processes:
                process.tell(signal.SIGKILL)
                process.wait()
        self.result.failures = len(self.point.failures)
        self.result.failure = self.point.failures[0] if self.point.failures else None
        self.result.calls = self.point.calls
        self.result.said = self.word()
        return self.result

    @property
    def processes(self):
        return [*(emission.process for emission in self.machine.emissions), self.machine.agent, self.consumer, self.broker]

    def live(self):
        agent = self.machine.agent
        if self.program == "agent":
            agent.environment = self.point.environment
        if self.program == "consumer":
            self.consumer.environment = self.point.environment
        self.consumer.start()
        agent.start()
        self.await_(lambda: self.machine.isAttached, "the agent attached the database")
        for _ in range(3):
            self.write()
            self.await_(self.isConfirmed, "everything was confirmed")
        if self.program == "emit":
            self.emit()
        if self.program == "detach":
            return self.detach()
        # An end in order is work too.
        self.end(agent)
        self.end(self.consumer)
        self.tend()
        self.point.make_space()
        agent.environment = self.consumer.environment = {}
        self.consumer.start()
        agent.start()
        self.write()
        self.await_(self.isConfirmed, "everything was confirmed after the end")
        self.judge()

    # The app

    def write(self):
        """Some transactions. A sale that was made and deleted before Drover came is no event, so tidying comes with Drover."""
        isAttached = self.machine.isAttached
        if isAttached != self.wasAttached:
            self.close_app()
        self.wasAttached = isAttached
        self.connect_app()
        kinds = [(self.app.change_stock, 8), (self.app.sell, 6)]
        if isAttached:
            kinds += [(self.app.read, 4), (self.app.tidy, 1)]
        for _ in range(3):
            self.app.transaction(kinds)
        # Half of the apps go away between their writes, and leave a recovery to Drover.
        if self.number % 2:
            self.close_app()

    def connect_app(self):
        if self.connection is None:
            self.connection = sqlite3.connect(self.machine.database, timeout=20, isolation_level=None)
            self.machine.incarnations += 1
            self.app = App(self.connection, self.chance, f"M1.{self.machine.incarnations}")

    def close_app(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    # Programs that end by themselves

    def emit(self):
        self.machine.emit(40, self.point.environment)
        self.await_(lambda: not self.machine.emissions[0].process.isRunning, "drover emit ended")
        self.note_end(self.machine.emissions[0].process)
        self.point.make_space()
        self.machine.emit(5)
        self.await_(lambda: not self.machine.emissions[1].process.isRunning, "the second drover emit ended")

    def detach(self):
        agent = self.machine.agent
        self.end(agent)
        marked = self.facts_with_a_mark()
        self.run_detach(self.point.environment)
        isDetached = not self.machine.isAttached
        for line in faults(self.machine.database):
            self.violation(f"integrity_check after detach: {line}")
        if self.number % 2:
            # Whoever thinks better of it starts the agent again, and all goes on.
            agent.start()
            self.await_(lambda: self.machine.isAttached, "the agent attached the database again")
            self.write()
            self.await_(self.isConfirmed, "everything was confirmed after an interrupted detach")
            self.end(agent)
            # After a detach that failed the outbox is what it was, and its epoch goes on. One that worked has removed the marks, too.
            self.judge(wentBack=isDetached, withoutMark=marked if isDetached else frozenset())
        self.close_app()
        self.point.make_space()
        process = self.run_detach({})
        if process.child.returncode != 0:
            self.violation("detach: the second run failed: " + " | ".join(process.last_lines(3)))
        self.judge_detached()

    def facts_with_a_mark(self):
        """Sales that the cloud knows by a mark of Drover's (`drover_life`) beside their key."""
        with looking_into(self.machine.database) as database:
            number = database.execute("SELECT number FROM drover_stream WHERE name = 'sale'").fetchone()[0]
            return {row[0] for row in database.execute(
                f"SELECT token FROM sale JOIN drover_life_{number} ON till = drover_key1 AND number = drover_key2")}

    def run_detach(self, environment):
        machine = self.machine
        process = Process("detach", [self.setting.drover, "detach", "--config", machine.config], f"{machine.folder}/detach.log")
        process.environment = environment
        process.start()
        process.isWanted = False
        self.await_(lambda: not process.isRunning, "drover detach ended")
        if environment:
            self.note_end(process)
        return process

    def judge_detached(self):
        database = self.machine.database
        with looking_into(database) as connection:
            for row in connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'drover%'"):
                self.violation(f"detach: {row[0]} is left in the database")
        for name in os.listdir(self.machine.folder):
            if name.startswith("app.db-drover") or name.startswith("."):
                self.violation(f"detach: {name} is left beside the database")

    # Waiting, with an eye on the program under trial

    @property
    def subject(self):
        return {"agent": self.machine.agent, "consumer": self.consumer}.get(self.program)

    def await_(self, condition, what):
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(sqlite3.OperationalError):
                if condition():
                    return
            if time.monotonic() > until:
                logs = [*self.machine.agent.last_lines(4), *self.consumer.last_lines(4)]
                raise Stuck(f"it never came to it that {what}: " + " | ".join(logs))
            self.tend()
            time.sleep(0.01)

    def tend(self):
        """Space comes back, and who has died or given up is started again, without a fail point."""
        self.machine.tend_emissions()
        failures = len(self.point.failures)
        if failures and self.filled is None:
            self.filled = time.monotonic()
            if self.point.kind not in DEATHS and self.program != "detach":
                before = self.facts_at_edge()
                self.write()
                self.unflushed = self.facts_at_edge() - before
        if failures and (failures >= FULL_CALLS or time.monotonic() - self.filled > FULL_SECONDS):
            self.look_for_unflushed()
            self.point.make_space()
        for process in (self.machine.agent, self.consumer):
            if process.fell:
                self.point.make_space()
                self.unflushed = set()
                self.note_end(process)
                process.environment = {}
                if self.number % 4 < 2:
                    self.write()
                process.start()

    def facts_at_edge(self):
        with looking_into(self.machine.database, 20, "rw") as database:
            return {row[0] for row in database.execute("SELECT token FROM ledger_fact")}

    def look_for_unflushed(self):
        """What the agent could not flush has no business in the cloud; asked once, before flushing works again."""
        if self.point.kind == "unflushed" and self.program == "agent" and self.unflushed:
            with contextlib.suppress(sqlite3.OperationalError), looking_into(self.cloud) as database:
                arrived = {row[0] for row in database.execute("SELECT token FROM sale")} & self.unflushed
                if arrived:
                    self.violation(f"{len(arrived)} facts were sent before they were flushed: {sorted(arrived)[:3]}")
        self.unflushed = set()

    def note_end(self, process):
        """It may have died by its fail point, or have given up with a reason; nothing else."""
        status = process.child.returncode
        isSubject = process is self.subject or self.program in ("emit", "detach")
        if not isSubject or not self.point.failures:
            if status:
                self.violation(f"{process.name} ended by itself with status {status}: " + " | ".join(process.last_lines(3)))
            return
        self.result.ended = status
        if self.point.kind in DEATHS:
            if status != -signal.SIGKILL:
                self.violation(f"{process.name} ended with status {status} where it was to be killed")
        elif status < 0 or status > 2:
            self.violation(f"{process.name} ended with status {status}: " + " | ".join(process.last_lines(3)))
        elif status and not any(line.startswith("drover: ") for line in process.last_lines(3)):
            self.violation(f"{process.name} ended with status {status} without a word: " + " | ".join(process.last_lines(3)))

    def end(self, process):
        process.tell(signal.SIGTERM)
        if process.wait() is None:
            self.violation(f"{process.name} was asked to end and did not: " + " | ".join(process.last_lines(3)))
        status = process.child.returncode
        if process is self.subject and self.point.kind in DEATHS and self.point.failures and status == -signal.SIGKILL:
            process.environment = {}
        elif status:
            self.note_end(process) if process is self.subject else self.violation(f"{process.name} ended with status {status}")

    def isConfirmed(self):
        if not self.machine.agent.isRunning:
            return False
        with looking_into(self.machine.database) as database:
            waiting = database.execute(
                """SELECT (SELECT count(*) FROM drover_outbox AS entry JOIN drover_stream ON number = entry.stream
                            WHERE seq > confirmed_through) + (SELECT count(*) FROM drover_stream WHERE backfill = 'running')""")
            return waiting.fetchone()[0] == 0

    # The verdict

    def violation(self, text):
        self.result.violations.append(text)

    def judge(self, wentBack=False, withoutMark=frozenset()):
        self.close_app()
        self.machine.tend_emissions()
        self.end(self.machine.agent)
        self.end(self.consumer)
        verdict = Verdict([self.machine], SQLiteStore(os.path.dirname(self.cloud)), wentBack, withoutMark)
        self.result.violations += verdict.violations
        for name in os.listdir(self.machine.folder):
            if name.startswith("app.db") and name.removeprefix("app.db") not in BESIDE or name.startswith("."):
                self.violation(f"{name} is left beside the database")

    def word(self):
        """The first line in which the program says that something failed."""
        log = {"agent": self.machine.agent.log, "consumer": f"{self.folder}/cloud.log",
               "emit": f"{self.machine.folder}/emit-0.log"}.get(self.program, f"{self.machine.folder}/detach.log")
        with contextlib.suppress(FileNotFoundError), open(log) as file:
            for line in file:
                if line.startswith("drover: ") or " error " in line[:40] or " warning " in line[:40]:
                    return line.strip()
        return None


class Stuck(Exception):
    """Something did not come."""
