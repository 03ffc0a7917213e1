"""One run: starts everything, lets the plan's blows fall, waits until all is confirmed, and has it judged."""

import collections
import json
import math
import os
import signal
import statistics
import subprocess
import time

import databases
from machine import Machine
from plan import KILLED, STORE, rounds
from processes import ENDING_LIMIT, Broker, Process
from proxy import Proxy
from stores import PostgreSQLStore, SQLiteStore
from verdict import Verdict
from watch import Watch

#: How long a calm round waits for recovery; slower ones are measured all the same.
CALM_LIMIT = 20.0
#: A copy to put back is taken in the run itself, so there are few; the cloud keeps the last ones.
COPIES = 3


class Run:
    def __init__(self, options, folder, drover, template, interruption):
        self.options = options
        self.folder = folder
        self.interruption = interruption
        self.counts = collections.Counter()
        self.violations = []
        self.slowest_ending = 0.0
        #: Until when the database was away; without end while it is.
        self.store_away = 0.0
        self.copies = []
        self.copies_made = 0
        self.proxies = [Proxy(options.seed + number) for number in range(options.machines + 1)]
        self.broker = Broker(folder, template, self.proxies)
        self.store = PostgreSQLStore(folder) if options.store == "postgresql" else SQLiteStore(folder)
        self.cloud_config = f"{folder}/cloud.yaml"
        with open(self.cloud_config, "w") as file:
            group = "group: chaos\n" if options.consumers > 1 else ""
            file.write(f"broker: mqtt://127.0.0.1:{self.proxies[0].port}\n{self.store.configuration}{group}keep_alive: 5s\n")
        self.consumers = [
            Process(f"consumer {number}", [drover, "cloud", "--config", self.cloud_config], f"{folder}/cloud-{number}.log")
            for number in range(1, options.consumers + 1)]
        # The older journal mode and the newer one, so that both are killed.
        self.machines = [
            Machine(f"M{number}", f"{folder}/m{number}", drover, self.proxies[number],
                    "WAL" if (options.seed + number) % 2 else "DELETE", options.seed, options.restore_cloud)
            for number in range(1, options.machines + 1)]
        self.drover = drover
        self.watch = Watch(self.machines, self.store)

    @property
    def processes(self):
        emissions = [emission.process for machine in self.machines for emission in machine.emissions]
        return [self.broker, *self.consumers, *(process for machine in self.machines for process in machine.processes), *emissions]

    def violation(self, text):
        self.violations.append(text)
        self.say(f"violation: {text}")

    def say(self, text):
        with open(f"{self.folder}/chaos.log", "a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    # From the first process to the last

    def whole(self):
        began = time.monotonic()
        try:
            self.start()
            for round in rounds(
                    self.options.seed, self.options.kills, self.options.machines, self.options.restore_cloud,
                    self.options.restore_edge, self.store.server is not None):
                self.play(round)
                self.tell(began)
            verdict = self.settle()
        finally:
            self.end()
        return self.report(verdict, time.monotonic() - began)

    def start(self):
        self.store.make()
        self.broker.start()
        for consumer in self.consumers:
            consumer.start()
        for machine in self.machines:
            machine.agent.start()
        self.await_(lambda: all(machine.isAttached for machine in self.machines), 60, "the agents attached their databases")
        for machine in self.machines:
            for app in machine.apps:
                machine.start_app(app)
        self.watch.start()

    def end(self):
        self.watch.stop()
        for process in self.processes:
            process.tell(signal.SIGKILL)
        for process in self.processes:
            process.wait()
        for proxy in self.proxies:
            proxy.close()
        self.store.end()

    # Waiting, with an eye on everybody

    def sleep(self, seconds):
        until = time.monotonic() + seconds
        while True:
            if self.interruption:
                raise SystemExit(128 + self.interruption[0])
            self.tend()
            rest = until - time.monotonic()
            if rest <= 0:
                return
            time.sleep(min(rest, 0.05))

    def await_(self, condition, limit, what):
        until = time.monotonic() + limit
        while not condition():
            if time.monotonic() > until:
                if what:
                    self.violation(f"it never came to it in {limit:.0f} s that {what}")
                return False
            self.sleep(0.05)
        return True

    def tend(self):
        """Whoever ended without being told is started again, as a supervisor would; of ours that is a violation."""
        for machine in self.machines:
            machine.tend_emissions()
            for app in machine.apps:
                if app.fell:
                    self.fallen(app)
                    machine.start_app(app)
            if machine.agent.fell:
                self.fallen(machine.agent)
                machine.agent.start()
        for consumer in self.consumers:
            if consumer.fell:
                self.fallen(consumer)
                consumer.start()
        if self.store.server and self.store.server.fell:
            self.fallen(self.store.server)
            self.store.start()
        if self.broker.fell:
            self.counts["broker_fell"] += 1
            self.broker.wipe()
            self.broker.start()

    def reason_to_end(self, consumer):
        """What a consumer may end for, to be started again: it finds no database when it starts (one that is at work has to wait for it), or
        another one has taken its number while the database was away."""
        if consumer.began > self.store_away:
            return None
        if consumer.has_said("another consumer has taken number"):
            return "consumer_lost_number"
        return None if consumer.has_said("connected to") else "consumer_without_store"

    def fallen(self, process):
        reason = self.reason_to_end(process) if process in self.consumers else None
        if reason:
            self.counts[reason] += 1
            return
        status = process.child.returncode
        self.violation(f"{process.name} ended by itself with status {status}: " + " | ".join(process.last_lines(4)))

    # A round

    def play(self, round):
        self.sleep(round.pause)
        for proxy, fault, seconds in round.faults:
            self.say(f"{fault} of line {proxy} for {seconds:.1f} s")
            self.proxies[proxy].do(fault, seconds)
            self.counts[f"line_{fault}"] += 1
        if round.copiesCloud:
            self.copies_made += 1
            path = f"{self.folder}/cloud-{self.copies_made}.db"
            self.store.save(path)
            self.copies = [*self.copies[1 - COPIES:], path]
        if round.copiesEdge is not None:
            self.machines[round.copiesEdge].take_copy()
        if round.emit:
            machine, count = round.emit
            self.machines[machine].emit(count)
            self.counts["emit_runs"] += 1

        victims = [(victim, process) for victim in round.victims for process in self.processes_of(victim)]
        for victim, process in victims:
            self.say(f"{self.blow(victim).name} to {process.name}")
            if process is self.store.server:
                self.store_away = math.inf
            process.tell(self.blow(victim))
            self.counts[victim.kind if victim.isKilled else "asked"] += 1
        for victim, process in victims:
            self.ended(process, process.wait())
        for kind in {victim.kind for victim in round.victims}:
            self.while_dead(kind, round)
        if round.restoresEdge is not None:
            self.restore_edge(self.machines[round.restoresEdge], round.restoresMemory, round.restoreWay)
        began = time.monotonic()
        # The database comes first: who starts without it ends at once.
        for victim, process in sorted(victims, key=lambda pair: (pair[0].kind not in STORE, pair[0].pause)):
            self.sleep(max(0.0, victim.pause - (time.monotonic() - began)))
            self.revive(victim, process)
        self.watch.restarted()
        if round.isCalm:
            self.await_(lambda: self.watch.isRecovered, CALM_LIMIT, None)

    def blow(self, victim):
        if victim.kind == "store_stop":
            return signal.SIGQUIT
        return signal.SIGKILL if victim.isKilled else signal.SIGTERM

    def processes_of(self, victim):
        if victim.kind in STORE:
            return [self.store.server]
        machine = self.machines[victim.machine]
        if victim.kind == "agent":
            return [machine.agent]
        if victim.kind == "app":
            running = [emission.process for emission in machine.emissions if emission.process.isRunning]
            return [machine.apps[0], *running]
        # By turns, for the plan knows machines and no consumers.
        return [self.broker if victim.kind == "broker" else self.consumers[(victim.machine + self.counts["consumer"]) % len(self.consumers)]]

    def revive(self, victim, process):
        machine = self.machines[victim.machine]
        if process in machine.apps:
            machine.start_app(process)
        elif process is self.store.server:
            self.store.start()
            self.store_away = time.monotonic()
        elif process in (self.broker, *self.consumers, machine.agent):
            process.start()

    def ended(self, process, seconds):
        if seconds is None:
            self.violation(f"{process.name} was asked to end and was still there after {ENDING_LIMIT:.0f} s")
        else:
            self.slowest_ending = max(self.slowest_ending, seconds)

    def while_dead(self, kind, round):
        if kind == "broker":
            self.broker.hasSmallQueue = round.hasSmallQueue
            self.counts["small_queue"] += round.hasSmallQueue
            if round.wipes:
                self.say("the broker's disk is lost")
                self.broker.wipe()
                self.counts["broker_wiped"] += 1
        if kind == "consumer" and round.restoresCloud and self.copies:
            with self.watch.lock:
                self.say(f"the cloud is put back to {self.copies[0]}")
                databases.put_back(self.copies.pop(0), self.store.path)
                self.watch.forget()
            self.counts["cloud_restored"] += 1

    def restore_edge(self, machine, withMemory, way):
        if not machine.copy:
            return
        self.say(f"{machine.name} is put back to its copy, {way}")
        running = [emission.process for emission in machine.emissions if emission.process.isRunning]
        dead = [process for process in [*machine.apps, *([machine.agent] if way == "stopped" else [])] if process.isWanted]
        for process in [*dead, *running]:
            process.end(signal.SIGKILL)
        machine.tend_emissions()
        with self.watch.lock:
            machine.put_back(withMemory, inPlace=way == "in_place")
        self.counts["edge_restored"] += 1
        self.counts[f"edge_restored_{way}"] += 1
        for process in dead:
            machine.start_app(process) if process in machine.apps else process.start()

    # The end

    def settle(self):
        """The apps write a little longer, so that the last blow too falls into work; then everything has to be confirmed."""
        self.sleep(1.5)
        self.await_(
            lambda: not any(emission.process.isRunning for machine in self.machines for emission in machine.emissions),
            self.options.patience, "the runs of drover emit ended")
        for machine in self.machines:
            for app in machine.apps:
                app.tell(signal.SIGTERM)
            for app in machine.apps:
                self.ended(app, app.wait())
                if app.child.returncode:
                    self.fallen(app)
        deadline = time.monotonic() + self.options.patience
        stopped = time.monotonic()
        isConfirmed = self.await_(
            lambda: all(self.is_confirmed(machine) for machine in self.machines), self.options.patience, "everything was confirmed")
        self.counts["settled_ms"] = int((time.monotonic() - stopped) * 1000)
        self.await_(lambda: self.watch.isRecovered, 2, None)
        verdict = self.judge()
        # What a restored cloud lacks the edges learn from its next confirmation, and are "confirmed" until then.
        while self.goesBack and verdict.violations and time.monotonic() < deadline:
            self.sleep(1)
            verdict = self.judge()
        self.watch.stop()
        if not isConfirmed:
            self.explain()
        for process in [*(machine.agent for machine in self.machines), *self.consumers, self.broker]:
            self.ended(process, process.end())
            if process is not self.broker and process.child.returncode:
                self.fallen(process)
        return verdict

    def explain(self):
        """What a person would look at who has the output of the run alone."""
        for machine in self.machines:
            if not self.is_confirmed(machine):
                self.violation(f"{machine.name}: {self.compact(machine.config)}")
        self.violation(f"cloud: {self.compact(self.cloud_config)}")
        for process in [*(machine.agent for machine in self.machines), *self.consumers]:
            self.violation(f"{process.name} said last: " + " | ".join(process.last_lines(6)))

    def compact(self, config):
        answer = subprocess.run([self.drover, "status", "--config", config, "--json"], capture_output=True, text=True)
        try:
            return json.dumps(json.loads(answer.stdout))
        except ValueError:
            return answer.stdout + answer.stderr

    @property
    def goesBack(self):
        return self.counts["cloud_restored"] + self.counts["edge_restored"] > 0

    def judge(self):
        return Verdict(self.machines, self.store, self.goesBack)

    def status(self, machine):
        return subprocess.run(
            [self.drover, "status", "--config", machine.config, "--json"], capture_output=True, text=True).stdout

    def is_confirmed(self, machine):
        try:
            status = json.loads(self.status(machine))
        except ValueError:
            return False
        return status["dead_letters"] == 0 and status["attached"] and all(
            stream["pending"] == 0 and stream["synced"] == 0 and not stream["backfilling"] for stream in status["streams"])

    def tell(self, began):
        done = sum(self.counts[kind] for kind in KILLED)
        tenth = max(1, self.options.kills // 10)
        if done // tenth > self.counts["told"]:
            self.counts["told"] = done // tenth
            slow = max(self.watch.recoveries, default=0)
            print(f"chaos: {done} kills in {time.monotonic() - began:.0f} s, slowest recovery {slow:.1f} s, "
                  f"{len(self.violations) + len(self.watch.violations)} violations", flush=True)

    def report(self, verdict, seconds):
        counts = dict(self.counts)
        counts.pop("told", None)
        settled = counts.pop("settled_ms", 0) / 1000
        violations = self.violations + self.watch.violations[:20] + verdict.violations
        recoveries = self.watch.recoveries
        return {
            "seed": self.options.seed,
            "kills": sum(counts.get(kind, 0) for kind in KILLED),
            "by_kind": dict(sorted(counts.items())),
            "events": sum(machine.events() for machine in self.machines),
            "facts": verdict.facts,
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "refused": verdict.refused,
            "drifted": verdict.drifted,
            "recoveries": len(recoveries),
            "recovery_median_s": round(statistics.median(recoveries), 2) if recoveries else None,
            "recovery_max_s": round(max(recoveries), 2) if recoveries else None,
            "settled_s": settled,
            "slowest_ending_s": round(self.slowest_ending, 2),
            "samples": self.watch.samples,
            "seconds": round(seconds, 1),
            "violations": violations,
        }
