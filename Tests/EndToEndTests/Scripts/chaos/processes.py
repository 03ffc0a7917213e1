"""The processes of a run: started, killed and waited for by their ID alone, and gone when the run is, however it ends."""

import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

#: A process that was asked to end has to be gone after this; design.md says five seconds, of a machine that is not overloaded.
ENDING_LIMIT = 10.0


def die_with_parent():
    """Also when the driver itself is killed nothing stays behind. (Linux: PR_SET_PDEATHSIG; tied to the thread that starts the child,
    so only the main thread does that.)"""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    def __init__(self, name, arguments, log):
        self.name = name
        self.arguments = arguments
        self.log = log
        #: Variables besides those of the driver.
        self.environment = {}
        self.child = None
        #: It was started and nobody has told it to end.
        self.isWanted = False
        #: When that was, and what stood in its log.
        self.began = 0.0
        self.logged = 0

    def start(self):
        self.began = time.monotonic()
        self.logged = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C reaches the driver only.
            self.child = subprocess.Popen(
                self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent,
                env=os.environ | self.environment)
        self.isWanted = True

    @property
    def isRunning(self):
        return self.child is not None and self.child.poll() is None

    @property
    def fell(self):
        """It ended by itself."""
        return self.isWanted and not self.isRunning

    def tell(self, number):
        self.isWanted = False
        if self.isRunning:
            self.child.send_signal(number)

    def wait(self):
        """Seconds until it was gone, or None when it had to be killed in the end."""
        if self.child is None:
            return 0.0
        began = time.monotonic()
        try:
            self.child.wait(ENDING_LIMIT)
            return time.monotonic() - began
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def end(self, number=signal.SIGTERM):
        self.tell(number)
        return self.wait()

    def has_said(self, text):
        """Since it was started."""
        with open(self.log, "rb") as log:
            log.seek(self.logged)
            return text in log.read().decode("utf-8", "replace")

    def last_lines(self, count=15):
        with contextlib.suppress(OSError), open(self.log, "rb") as log:
            return log.read()[-4000:].decode("utf-8", "replace").splitlines()[-count:]
        return []


class Broker(Process):
    """A mosquitto that keeps its sessions on disk, a second late."""

    def __init__(self, folder, template, proxies):
        self.folder = folder
        self.template = template
        self.proxies = proxies
        self.hasSmallQueue = False
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if not program:
            sys.exit("chaos: mosquitto is not installed; scripts/install-packages does that")
        super().__init__("broker", [program, "-c", f"{folder}/mosquitto.conf"], f"{folder}/broker.log")
        os.mkdir(f"{folder}/data")

    def start(self):
        # Somebody may take a port while the broker is dead; the proxies keep theirs, so it may come back on another.
        for _ in range(10):
            port = free_port()
            self.configure(port)
            super().start()
            if self.answers(port):
                for proxy in self.proxies:
                    proxy.target = port
                return
            self.end(signal.SIGKILL)
        sys.exit("chaos: mosquitto does not start:\n" + "\n".join(self.last_lines()))

    def configure(self, port):
        # Debian 12's mosquitto drops what does not fit and tells the publisher success: one more way to lose what was acknowledged.
        text = self.template
        if self.hasSmallQueue:
            text = text.replace("max_queued_messages 1000000", "max_queued_messages 10")
        with open(f"{self.folder}/mosquitto.conf", "w") as file:
            file.write(f"{text}\nlistener {port} 127.0.0.1\npersistence_location {self.folder}/data/\n")

    def answers(self, port):
        for _ in range(500):
            if not self.isRunning:
                return False
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            time.sleep(0.01)
        return False

    def wipe(self):
        """Its disk is lost: sessions, queues, retained messages."""
        shutil.rmtree(f"{self.folder}/data")
        os.mkdir(f"{self.folder}/data")


def free_port():
    """Below the ports that the kernel hands out by itself, so that no other program's connection comes by one by chance."""
    while True:
        port = random.SystemRandom().randint(15_000, 31_999)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
