"""Series of trials: one program, one kind of failure, and the fail point that moves."""

import concurrent.futures
import dataclasses
import shutil

from disk import SmallDisk
from processes import die_with_parent
from trial import Trial

#: Timing moves a few calls, so one run that survives is not yet the end.
SURVIVALS = 3


@dataclasses.dataclass
class Setting:
    drover: str
    library: str
    template: str
    folder: str
    keeps: bool


@dataclasses.dataclass(frozen=True)
class Series:
    program: str
    #: The journal mode of the app's database.
    journal: str
    kind: str

    def __str__(self):
        return f"{self.program} {self.kind} {self.journal.lower()}"

    @property
    def makesSense(self):
        """The consumer's database is its own, whatever the app's journal mode is; and only those two send what they flushed."""
        if self.program == "consumer" and self.journal == "DELETE":
            return False
        return self.kind != "unflushed" or self.program in ("agent", "consumer")


def tried(setting, series, number):
    """One trial, in a process of its own. Its folder stays when something is to be seen in it."""
    folder = f"{setting.folder}/{series}-{number}".replace(" ", "-")
    result = Trial(setting, folder, series.program, series.journal, series.kind, number).whole()
    if not result.violations and not setting.keeps:
        shutil.rmtree(folder)
    return result


def tried_on_small_disk(setting, series):
    return SmallDisk(setting, f"{setting.folder}/{series}".replace(" ", "-"), series.program, series.journal).whole()


class Loop:
    def __init__(self, setting, workers):
        self.setting = setting
        self.workers = workers
        self.pool = concurrent.futures.ProcessPoolExecutor(workers, initializer=die_with_parent)

    def whole(self, all_series):
        for series in all_series:
            yield series, self.until_it_survives(series)

    def until_it_survives(self, series):
        """The first point, the second one and so on, until runs survive."""
        results, survivals, number, running = [], 0, 1, set()
        while survivals < SURVIVALS:
            while len(running) < self.workers:
                running.add(self.pool.submit(tried, self.setting, series, number))
                number += 1
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                results.append(future.result())
                survivals += results[-1].failure is None
        return results + [future.result() for future in running]

    def spread(self, all_series, count, chance):
        """For each series so many points at even distances, from an offset that is drawn; all series at once, for trials mostly wait."""
        counting = [(series, self.pool.submit(tried, self.setting, series, 0)) for series in all_series]
        running = []
        for series, future in counting:
            calls = future.result().calls or 1
            distance = max(1, calls // count)
            numbers = range(chance.randint(1, distance), calls + 1, distance)
            running.append((series, [self.pool.submit(tried, self.setting, series, number) for number in numbers]))
        for series, futures in running:
            yield series, [future.result() for future in futures]

    def one(self, all_series, number):
        for series in all_series:
            yield series, [tried(self.setting, series, number)]

    def end(self):
        self.pool.shutdown()

    def small_disk(self, all_series):
        for series in all_series:
            yield series, [self.pool.submit(tried_on_small_disk, self.setting, series).result()]
