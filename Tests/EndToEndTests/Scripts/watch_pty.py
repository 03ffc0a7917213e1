"""Runs `drover watch` in a terminal: what it shows, that it follows the window's size, and that it leaves the terminal as it was.

Arguments: the executable, the configuration, a name that has to be seen, and how it is ended: a key, or a signal's name.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

drover, configuration, name, ending = sys.argv[1:]


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read_until(terminal, text):
    """All that came until the text came; nothing is waited for longer than a minute."""
    seen, deadline = b"", time.monotonic() + 60
    while text not in seen:
        assert time.monotonic() < deadline, f"{text!r} never came: {seen[-2000:]!r}"
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536)
    return seen


terminal, inner = pty.openpty()
resize(terminal, 24, 100)
before = termios.tcgetattr(inner)
child = os.fork()
if child == 0:
    os.login_tty(inner)
    os.execv(drover, [drover, "watch", "--config", configuration])

first = read_until(terminal, name.encode())
assert first.startswith(b"\x1b[?1049h\x1b[?25l"), first[:80]
assert b"last hour" in first, first
assert not termios.tcgetattr(inner)[3] & termios.ECHO, "keys are shown"
read_until(terminal, b"q ends")

# A narrow window, which is drawn anew at once.
resize(terminal, 10, 30)
os.kill(child, signal.SIGWINCH)
seen = read_until(terminal, "…".encode()) + read_until(terminal, b"\x1b[J")
whole = [frame for frame in seen.decode().split("\x1b[H") if "\x1b[J" in frame]
lines = re.split(r"\r*\n", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", whole[-1]))
assert len(lines) == 10 and all(len(line) <= 30 for line in lines), lines

if len(ending) == 1 or ending == "ctrl-c":
    os.write(terminal, b"\x03" if ending == "ctrl-c" else ending.encode())
else:
    os.kill(child, getattr(signal, ending))
rest = read_until(terminal, b"\x1b[?1049l")
assert b"\x1b[?25h" in rest and b"\x1b[?7h" in rest, rest
_, status = os.waitpid(child, 0)
assert status == 0, status
assert termios.tcgetattr(inner) == before, "the terminal is another one"
