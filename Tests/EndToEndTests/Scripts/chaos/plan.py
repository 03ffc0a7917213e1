"""What happens in a run, drawn from its seed alone: the same seed plans the same rounds. When exactly a blow falls is the machine's affair."""

import dataclasses
import random

from proxy import FAULTS


@dataclasses.dataclass
class Victim:
    """Who is ended in a round, how, and after how many seconds it is started again."""

    kind: str
    machine: int
    isKilled: bool
    pause: float


@dataclasses.dataclass
class Round:
    pause: float
    victims: list
    #: (proxy, fault, seconds): 0 is the consumer's line, then the machines'.
    faults: list
    #: The broker's disk is lost, its queue is small from now on.
    wipes: bool
    hasSmallQueue: bool
    #: Machine that gets a run of `drover emit`, with so many lines; a run that is still going may be killed.
    emit: tuple
    copiesCloud: bool
    restoresCloud: bool
    copiesEdge: int
    restoresEdge: int
    #: Drover's file beside the machine's database goes back with it, as with a snapshot of a whole disk.
    restoresMemory: bool
    #: How it goes back: one of WAYS.
    restoreWay: str
    #: Wait for recovery before the next round; otherwise the next blow may fall into it.
    isCalm: bool

    @property
    def kills(self):
        return sum(victim.isKilled and victim.kind in KILLED for victim in self.victims)


KINDS = ("agent", "broker", "consumer")
#: The database's server: SIGKILL of its first process, and its own immediate stop.
STORE = ("store", "store_stop")
#: A machine's database is put back with the agent stopped, or under the agent: in its place by SQLite's backup API, or by another file.
WAYS = ("stopped", "in_place", "replaced")
#: Kills of these count; the apps and runs of `drover emit` die besides.
KILLED = (*KINDS, *STORE)


def rounds(seed, kills, machines, restores_cloud, restores_edge, kills_store):
    chance = random.Random(seed)
    done = 0
    while done < kills:
        round = draw(chance, machines, restores_cloud, restores_edge, kills_store)
        done += round.kills
        yield round


def draw(chance, machines, restores_cloud, restores_edge, kills_store):
    # Every line draws the same number of times whatever the options are, so that they do not change the rest of the plan.
    how_many = chance.choices([1, 2, 3], [75, 17, 8])[0]
    kinds = chance.sample(KINDS, how_many)
    victims = []
    for kind in kinds:
        both = chance.random() < 0.15
        first = chance.randrange(machines)
        asked = chance.random() < 0.12
        pause = min(chance.expovariate(1 / 0.25), 2.0)
        chosen = range(machines) if kind == "agent" and both else [first]
        victims += [Victim(kind, machine, not asked, pause) for machine in chosen]
    app = Victim("app", chance.randrange(machines), True, chance.uniform(0, 0.3))
    if chance.random() < 0.08:
        victims.append(app)
    chance.shuffle(victims)

    faults = [
        (chance.randrange(machines + 1), chance.choice(FAULTS), min(chance.expovariate(1 / 0.8), 7.0))
        for _ in range(chance.choices([0, 1, 2, 4], [60, 25, 10, 5])[0])]
    round = Round(
        pause=min(chance.expovariate(1 / 0.25), 1.5), victims=victims, faults=faults,
        wipes=chance.random() < 0.15, hasSmallQueue=chance.random() < 0.15,
        emit=(chance.randrange(machines), chance.choice([1, 40, 1500])) if chance.random() < 0.12 else None,
        copiesCloud=chance.random() < 0.15, restoresCloud=chance.random() < 0.25,
        copiesEdge=chance.randrange(machines) if chance.random() < 0.3 else None,
        restoresEdge=chance.randrange(machines) if chance.random() < 0.15 else None, restoresMemory=chance.random() < 0.4,
        restoreWay=chance.choice(WAYS), isCalm=chance.random() < 0.3)
    store = Victim(chance.choice(STORE), 0, True, min(chance.expovariate(1 / 0.5), 3.0))
    if chance.random() < 0.25 and kills_store:
        round.victims.append(store)
    if not restores_cloud:
        round.copiesCloud = round.restoresCloud = False
    if not restores_edge:
        round.copiesEdge = round.restoresEdge = None
    return round
