"""Disks that are really full: small ones in memory, under the machine's folder or the consumer's, which a file fills and frees again.

They need a mount namespace, and so root: the driver starts itself in one.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time

from trial import Trial

SIZE = "2m"


def reason_against():
    """Why there can be no small disk here; None where there can."""
    if not shutil.which("unshare"):
        return "there is no program unshare"
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True)
    return probe.stderr.strip() if probe.returncode else None


def with_mounts():
    """Starts this program again where its mounts are seen by nobody else; returns when it is there."""
    if not os.environ.get("FAILPOINTS_MAY_MOUNT"):
        os.execvpe("unshare", ["unshare", "-m", sys.executable, *sys.argv], os.environ | {"FAILPOINTS_MAY_MOUNT": "1"})


class SmallDisk(Trial):
    """The program is the one whose disk is full. Nobody is started again: whoever ends by itself has failed."""

    def __init__(self, setting, folder, program, journal):
        self.disk = f"{folder}/{'cloud' if program == 'consumer' else 'edge'}"
        os.makedirs(self.disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", self.disk], check=True)
        super().__init__(setting, folder, program, journal, "full", 0)
        #: Without a place for its log the agent has to go on too.
        self.hasLog = program == "consumer" or journal == "DELETE"
        if self.hasLog:
            self.machine.agent.log = f"{folder}/edge.log"

    def live(self):
        agent = self.machine.agent
        self.consumer.start()
        agent.start()
        self.await_(lambda: self.machine.isAttached, "the agent attached the database")
        self.write()
        self.await_(self.isConfirmed, "everything was confirmed")
        if self.program == "agent":
            # It has work to do on its full disk: it is told what was confirmed.
            self.end(self.consumer)
            self.write()
            self.fill()
            self.consumer.start()
            for _ in range(10):
                self.write_on_full_disk()
        else:
            self.fill()
            self.write()
        if self.hasLog:
            self.await_(lambda: self.word() is not None, f"the {self.program} said that its disk is full")
        else:
            self.pause(1.5)
        os.remove(f"{self.disk}/ballast")
        self.write()
        self.await_(self.isConfirmed, "everything was confirmed when there was space again")
        self.judge()

    def fill(self):
        with open(f"{self.disk}/ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                self.result.failures += 1
        self.result.failure = ("fill", self.disk)

    def write_on_full_disk(self):
        """The app's own disk is full, so its own writes may fail; what it did not commit is in no ledger."""
        try:
            self.write()
        except sqlite3.OperationalError:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def pause(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tend()
            time.sleep(0.05)

    def whole(self):
        result = super().whole()
        result.failure = ("fill", "/")
        subprocess.run(["umount", self.disk], check=True)
        return result
