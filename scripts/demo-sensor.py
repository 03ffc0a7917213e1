#!/usr/bin/env python3
"""A sensor's readings as CSV with a header, for `drover emit`: a temperature every five minutes, with noise and faults."""

import argparse
import datetime
import math
import random
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=20000, help="readings after the header (default 20000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same readings (default 1)")
    arguments = parser.parse_args()

    chance = random.Random(arguments.seed)
    moment = datetime.datetime(2026, 1, 1)
    step = datetime.timedelta(minutes=5)
    drift = 0.0
    sys.stdout.write("timestamp,value\n")
    for line in range(arguments.lines):
        drift = 0.995 * drift + chance.gauss(0, 0.4)
        fault = -40.0 if line % 4800 in range(4000, 4040) else 0.0
        value = 85 + 6 * math.sin(line / 288 * math.tau) + drift + fault
        sys.stdout.write(f"{moment:%Y-%m-%d %H:%M:%S},{value:.8f}\n")
        moment += step


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has enough; there is nobody to tell, not even when Python flushes at exit.
        sys.stderr.close()
        sys.exit(1)
