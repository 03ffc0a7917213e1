#!/usr/bin/env python3
"""The kill loop for rows that both sides edit.

The apps of two machines and a person in the cloud edit the same few rows, while agents, consumers, the broker, the editors themselves and PostgreSQL's server
are killed, and databases are put back to copies. In the end both sides are equal, and each edit is in its row, in a listed conflict, or in a text that its
editor deleted after reading it. Every machine has the same reference data. The last line of the output is JSON.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "chaos")]

import databases  # noqa: E402
from editor import LEDGER  # noqa: E402
from executable import drover  # noqa: E402
from processes import Broker, Process  # noqa: E402
from stores import PostgreSQLStore  # noqa: E402

REPOSITORY = HERE.parents[3]
TABLES = "CREATE TABLE t (id INTEGER PRIMARY KEY, log TEXT NOT NULL); CREATE TABLE price (id INTEGER PRIMARY KEY, log TEXT NOT NULL);"


class SQLiteStore:
    server = None

    def __init__(self, folder):
        self.path = f"{folder}/cloud.db"
        self.configuration = f"store: sqlite:{self.path}\n"
        self.address = f"sqlite:{self.path}"

    def make(self):
        pass

    def end(self):
        pass

    def ask(self, sql):
        with contextlib.closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()

    def script(self, sql):
        with contextlib.closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            connection.executescript(sql)

    def copy(self):
        databases.copy(self.path, self.path + ".copy")

    def put_back(self):
        databases.put_back(self.path + ".copy", self.path)


class PostgreSQL(PostgreSQLStore):
    def __init__(self, folder):
        super().__init__(folder)
        self.address = f"postgresql:{self.folder}"

    def ask(self, sql):
        return [tuple(json.loads(line).values()) for line in super().ask(f"SELECT to_json(found) FROM ({sql}) AS found")]

    def script(self, sql):
        super().ask(sql)

    def copy(self):
        """With the server stopped, which is a short absence of its own."""
        self.server.end(signal.SIGINT)
        shutil.rmtree(f"{self.folder}/copy", ignore_errors=True)
        subprocess.run(["cp", "-a", f"{self.folder}/data", f"{self.folder}/copy"], check=True)
        self.start()

    def put_back(self):
        self.server.end(signal.SIGQUIT)
        shutil.rmtree(f"{self.folder}/data")
        os.rename(f"{self.folder}/copy", f"{self.folder}/data")
        self.start()


class Machine:
    def __init__(self, name, folder, executable, port):
        self.name, self.folder = name, folder
        self.path = f"{folder}/app.db"
        self.hasCopy = False
        os.mkdir(folder)
        self.script("PRAGMA journal_mode = WAL;" + TABLES + LEDGER)
        with open(f"{folder}/edge.yaml", "w") as file:
            file.write(
                f"machine: {name}\ndatabase: {self.path}\nbroker: mqtt://127.0.0.1:{port}\nkeep_alive: 5s\nstreams:\n"
                "  - {table: t, kind: snapshot, direction: both, natural_key: true}\n"
                "  - {table: price, kind: snapshot, direction: down, machines: all}\n")
        self.agent = Process(f"agent of {name}", [executable, "edge", "--config", f"{folder}/edge.yaml"], f"{folder}/edge.log")
        self.app = Process(f"app of {name}", [], f"{folder}/app.log")

    def ask(self, sql):
        with contextlib.closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()

    def script(self, sql):
        with contextlib.closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            connection.executescript(sql)

    def copy(self):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(self.path + "-drover.state", self.path + ".copy-state")
        databases.copy(self.path, self.path + ".copy")
        self.hasCopy = True

    def put_back(self, way):
        (databases.put_back_in_place if way == "in_place" else databases.put_back)(self.path + ".copy", self.path)
        if way == "with_memory":
            shutil.move(self.path + ".copy-state", self.path + "-drover.state")
        self.hasCopy = False

    def waiting(self):
        return self.ask(
            "SELECT count(*) FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream"
            " WHERE entry.seq > stream.confirmed_through")[0][0]


class Run:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.dice = random.Random(options.seed)
        executable = drover()
        self.line = type("Line", (), {"target": 0})()
        self.broker = Broker(folder, (REPOSITORY / "broker" / "loopback.conf").read_text(), [self.line])
        # The broker's port is the same after a kill, because nothing stands before it.
        port = self.free_port()
        self.broker.answers = lambda _, answers=self.broker.answers: answers(port)
        self.broker.configure = lambda _, configure=self.broker.configure: configure(port)
        self.store = PostgreSQL(folder) if options.store == "postgresql" else SQLiteStore(folder)
        with open(f"{folder}/cloud.yaml", "w") as file:
            group = "group: chaos\n" if options.consumers > 1 else ""
            file.write(
                f"{self.store.configuration}broker: mqtt://127.0.0.1:{port}\nkeep_alive: 5s\n{group}conflicts: {{max_count: 100000}}\n")
        self.consumers = [
            Process(f"consumer {number}", [executable, "cloud", "--config", f"{folder}/cloud.yaml"], f"{folder}/cloud-{number}.log")
            for number in range(1, options.consumers + 1)]
        self.machines = [Machine(f"M{number}", f"{folder}/M{number}", executable, port) for number in (1, 2)]
        self.person = Process("person", [], f"{folder}/person.log")
        self.incarnations = 0
        self.hasCloudCopy = False
        #: Marks that a restore took away, and texts that were deleted before one.
        self.exempt, self.removed = set(), set()
        self.counts = collections.Counter()

    @staticmethod
    def free_port():
        from processes import free_port
        return free_port()

    # Processes

    def start_editor(self, process, machine):
        self.incarnations += 1
        side = "c" if machine is None else f"e{machine.name[1:]}x"
        place = self.store.address if machine is None else f"sqlite:{machine.path}"
        process.arguments = [
            sys.executable, str(HERE / "editor.py"), place, "--incarnation", f"{side}{self.incarnations}", "--seed",
            str(self.options.seed * 1_000_003 + self.incarnations),
            *(["--machines", *(each.name for each in self.machines)] if machine is None else [])]
        process.start()

    def start_editors(self):
        self.start_editor(self.person, None)
        for machine in self.machines:
            self.start_editor(machine.app, machine)

    def end_editors(self):
        for process in [self.person, *(machine.app for machine in self.machines)]:
            process.end(signal.SIGKILL)

    def start(self):
        self.store.make()
        self.broker.start()
        for process in [*self.consumers, *(machine.agent for machine in self.machines)]:
            process.start()
        for machine in self.machines:
            machine.script(f"INSERT INTO t VALUES (0, 'first{machine.name}.'); INSERT INTO ledger_mark VALUES ('first{machine.name}.', '')")
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(sqlite3.OperationalError):
                self.store.script(LEDGER)
                if len(self.store.ask("SELECT id FROM t")) == 2 and self.store.ask("SELECT count(*) FROM drover_flow")[0][0] >= 4:
                    break
            if time.monotonic() > until:
                sys.exit("two-way kill loop: the consumer makes no tables")
            self.tend()
            time.sleep(0.05)
        self.start_editors()

    def tend(self):
        """What ended by itself, for its server was away or its database was replaced, is started again."""
        for process in [*self.consumers, *(machine.agent for machine in self.machines)]:
            if process.fell:
                self.counts[f"ended {process.name.split()[0]}"] += 1
                process.start()
        if self.store.server and self.store.server.fell:
            self.store.start()

    def end(self):
        for process in [self.person, *(machine.app for machine in self.machines)]:
            process.end(signal.SIGKILL)
        for process in [*(machine.agent for machine in self.machines), *self.consumers, self.broker]:
            process.end()
        self.store.end()

    # Rounds

    def round(self):
        victims = [self.dice.choice(["agent", "consumer", "agent", "consumer", "broker", "editor", *(["server"] if self.store.server else [])])]
        if self.dice.random() < 0.2:
            victims.append(self.dice.choice(["agent", "consumer", "broker"]))
        down = []
        for kind in dict.fromkeys(victims):
            process, start = self.victim(kind)
            process.tell(signal.SIGKILL)
            process.wait()
            down.append(start)
            self.counts[kind] += 1
        time.sleep(self.dice.random() * 0.4)
        for start in down:
            start()
        time.sleep(self.dice.random() * 0.6)
        self.tend()
        draw = self.dice.random()
        if draw < 0.06:
            machine = self.dice.choice(self.machines)
            machine.copy()
        elif draw < 0.09:
            self.copy_cloud()
        elif draw < 0.13 and self.options.restores:
            self.restore()

    def victim(self, kind):
        machine = self.dice.choice(self.machines)
        if kind == "agent":
            return machine.agent, machine.agent.start
        if kind == "consumer":
            consumer = self.dice.choice(self.consumers)
            return consumer, consumer.start
        if kind == "editor":
            if self.dice.random() < 0.5:
                return self.person, lambda: self.start_editor(self.person, None)
            return machine.app, lambda: self.start_editor(machine.app, machine)
        return (self.broker, self.broker.start) if kind == "broker" else (self.store.server, self.store.start)

    def copy_cloud(self):
        self.store.copy()
        self.hasCloudCopy = True

    def restore(self):
        machine = self.dice.choice(self.machines)
        what = self.dice.choice(["edge", "cloud", "both"])
        isEdge, isCloud = machine.hasCopy and what != "cloud", self.hasCloudCopy and what != "edge"
        if not isEdge and not isCloud:
            return
        self.end_editors()
        listed = self.listed()
        self.removed |= self.texts_removed()
        if isEdge:
            way = self.dice.choice(["alone", "with_memory", "in_place"])
            if way == "with_memory" and not os.path.exists(machine.path + ".copy-state"):
                way = "alone"
            if way != "in_place":
                machine.agent.end(signal.SIGKILL)
            machine.put_back(way)
            self.counts[f"restored edge {way}"] += 1
            if way != "in_place":
                machine.agent.start()
        if isCloud:
            for consumer in self.consumers:
                consumer.end(signal.SIGKILL)
            self.store.put_back()
            self.hasCloudCopy = False
            self.counts["restored cloud"] += 1
            # The list of conflicts went back too.
            self.exempt |= {mark for text in listed - self.listed() for mark in marks(text)}
            for consumer in self.consumers:
                consumer.start()
        # What neither side has any more is lost with the restore itself.
        self.exempt |= self.owed() - self.kept()
        self.start_editors()

    # Looking

    def owed(self):
        found = {mark for (mark,) in self.store.ask("SELECT mark FROM ledger_mark")}
        for machine in self.machines:
            found |= {mark for (mark,) in machine.ask("SELECT mark FROM ledger_mark")}
        return found

    def texts_removed(self):
        texts = {text for (text,) in self.store.ask("SELECT log FROM ledger_removed")}
        for machine in self.machines:
            texts |= {text for (text,) in machine.ask("SELECT log FROM ledger_removed")}
        return texts

    def listed(self):
        return {
            json.loads(content)[1]
            for (content,) in self.store.ask("SELECT CAST(content AS TEXT) AS content FROM drover_conflict WHERE content IS NOT NULL AND stream = 't'")}

    def kept(self):
        texts = self.listed() | self.removed | self.texts_removed() | {text for (text,) in self.store.ask("SELECT log FROM t")}
        for machine in self.machines:
            texts |= {text for (text,) in machine.ask("SELECT log FROM t")}
        return {mark for text in texts for mark in marks(text)}

    def differences(self):
        found = []
        for machine in self.machines:
            for table, owner in (("t", machine.name), ("price", "*")):
                edge = dict(machine.ask(f"SELECT id, log FROM {table}"))
                cloud = dict(self.store.ask(f"SELECT id, log FROM {table} WHERE machine_id = '{owner}'"))
                found += [
                    f"{table} {row} of {machine.name}: {edge.get(row)} and {cloud.get(row)}"
                    for row in sorted(edge.keys() | cloud.keys()) if edge.get(row) != cloud.get(row)]
        return found

    def settle(self):
        """Until both sides have been equal, with nothing on its way, for a while."""
        calm, deadline = 0, time.monotonic() + self.options.patience
        while calm < 15 and time.monotonic() < deadline:
            self.tend()
            with contextlib.suppress(sqlite3.OperationalError):
                calm = calm + 1 if not self.differences() and not any(machine.waiting() for machine in self.machines) else 0
            time.sleep(0.2)

    def judge(self):
        faults = [f"the sides differ: {difference}" for difference in self.differences()]
        faults += [f"{machine.name} has {machine.waiting()} entries that wait" for machine in self.machines if machine.waiting()]
        lost = self.owed() - self.kept() - self.exempt
        if lost:
            faults.append(f"lost without a trace: {sorted(lost)}")
        conflicts = self.store.ask(
            "SELECT machine_id, local_id, CAST(content AS TEXT) AS content FROM drover_conflict WHERE content IS NOT NULL AND stream = 't'")
        faults += [f"listed twice: {conflict}" for conflict, count in collections.Counter(conflicts).items() if count > 1]
        return len(conflicts), faults

    def whole(self):
        began = time.monotonic()
        self.start()
        kinds = ("agent", "consumer", "broker", "editor", "server")
        while sum(self.counts[kind] for kind in kinds) < self.options.kills:
            self.round()
        self.end_editors()
        self.settle()
        conflicts, faults = self.judge()
        return {
            "seed": self.options.seed, "kills": sum(self.counts[kind] for kind in kinds), "by_kind": dict(self.counts),
            "edits": len(self.owed()), "exempt": len(self.exempt), "conflicts": conflicts, "seconds": round(time.monotonic() - began),
            "faults": faults}


def marks(text):
    return [f"{mark}." for mark in text.split(".") if mark]


def main():
    parser = argparse.ArgumentParser(prog="chaos-two-way", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite", help="the cloud's; a PostgreSQL server of the run's own")
    parser.add_argument("--consumers", type=int, default=1, help="consumers of one group; with --store postgresql")
    parser.add_argument("--restores", action="store_true", help="put machines' databases and the cloud's back to copies")
    parser.add_argument("--patience", type=float, default=180, help="seconds until both sides have to be equal at the end")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the databases and logs in any case")
    options = parser.parse_args()
    if options.store == "sqlite" and options.consumers > 1:
        parser.error("several consumers need --store postgresql")
    folder = tempfile.mkdtemp(prefix="drover-two-way.")
    run, report = Run(options, folder), None
    try:
        report = run.whole()
    finally:
        run.end()
        if report and not report["faults"] and not options.keep:
            shutil.rmtree(folder)
        else:
            print(f"chaos-two-way: seed {options.seed}; the databases and logs stay in {folder}", file=sys.stderr)
    print(json.dumps(report))
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
