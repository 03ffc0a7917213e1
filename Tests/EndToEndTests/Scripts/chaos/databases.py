"""Looking into the databases from outside, without changing how they are found: read-only, and closed again at once.

A reader that stays, or one that may write, would do the recovery after a kill that is Drover's to do.
"""

import contextlib
import os
import sqlite3


@contextlib.contextmanager
def looking_into(path, timeout=5, mode="ro"):
    connection = sqlite3.connect(f"file:{path}?mode={mode}", uri=True, timeout=timeout, isolation_level=None)
    try:
        connection.execute("BEGIN")  # one moment
        yield connection
    finally:
        connection.close()


def copy(path, to):
    """A backup as people take it, while others write."""
    source, target = sqlite3.connect(path, timeout=10), sqlite3.connect(to)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()


def put_back(copy, path):
    """The file as it was; what belonged to the present one goes."""
    for ending in ("-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path + ending)
    os.replace(copy, path)


def put_back_in_place(copy, path):
    """As `.restore` of SQLite's command line does it, whoever has the database open."""
    source, target = sqlite3.connect(copy), sqlite3.connect(path, timeout=30)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    os.remove(copy)


def faults(path):
    """What PRAGMA integrity_check has to say; nothing when all is well."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
            lines = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        lines = [str(error)]
    return [] if lines == ["ok"] else lines
