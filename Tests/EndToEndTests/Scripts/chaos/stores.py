"""The cloud's store as the run sees it: a file of SQLite's, or a PostgreSQL server of the run's own. Either is looked into as SQLite tables."""

import contextlib
import glob
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from base64 import b64decode

import databases
from processes import Process


class SQLiteStore:
    def __init__(self, folder):
        self.path = f"{folder}/cloud.db"
        self.configuration = "store: sqlite:./cloud.db\n"

    #: It has no server that could die.
    server = None

    def make(self):
        pass

    def end(self):
        pass

    def looking(self, timeout):
        return databases.looking_into(self.path, timeout)

    def save(self, path):
        databases.copy(self.path, path)

    def faults(self):
        return databases.faults(self.path)


#: What the run looks at: by table its columns, and how PostgreSQL tells them.
TABLES = {
    "drover_received": {"machine_id": "", "epoch": "", "stream": "", "after_seq": "", "through_seq": ""},
    "drover_tombstone": {"machine_id": "", "stream": "", "local_id": "", "epoch": "", "version": ""},
    "drover_progress": {"machine_id": "", "stream": "", "applied": ""},
    "drover_dead_letter": {"machine_id": "", "stream": "", "reason": "", "detail": "", "raw": "::text", "count": ""},
    "stock": {
        "machine_id": "", "id": "", "name": "", "amount": "::text", "weight": "::text", "picture": "::text", "synced": "",
        "drover_epoch": "", "drover_version": ""},
    "sale": {"machine_id": "", "till": "", "number": "", "token": "", "price": "::text", "note": "::text"},
    "reading": {"machine_id": "", "body": "::text"},
    "emitted": {"machine_id": "", "body": "::text"},
}
#: Columns whose texts are doubles, bytes, and values as they are on the wire.
DOUBLES, BYTES, WIRE = {"weight", "price"}, {"raw", "picture"}, {"amount", "note", "picture"}


def value(column, told):
    if told is None or not isinstance(told, str):
        return told
    if column in DOUBLES:
        return float(told)
    if column in BYTES and told.startswith("\\x"):
        return bytes.fromhex(told[2:])
    return wire(json.loads(told)) if column in WIRE else told


def wire(read):
    if not isinstance(read, dict):
        return read
    (tag, content), = read.items()
    return float(content) if tag == "$real" else b64decode(content)


class PostgreSQLStore:
    """A server with the durability that it has by default, for it is killed too."""

    #: Seconds until it takes connections again: after SIGKILL of its first process the others have to notice first.
    PATIENCE = 60

    def __init__(self, folder):
        # The server refuses to be root's, and the run's folder is closed to others.
        self.folder = tempfile.mkdtemp(prefix="drover-chaos-postgresql.")
        self.programs = max(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
        self.owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self.owner:
            os.chown(self.folder, self.owner.pw_uid, self.owner.pw_gid)
        self.configuration = f"store: postgresql://drover@{self.folder.replace('/', '%2F')}/postgres\n"
        settings = ["listen_addresses=", "max_connections=60"]
        self.server = Process(
            "PostgreSQL",
            self.unprivileged("--pdeathsig", "QUIT", "--", f"{self.programs}/postgres", "-D", f"{self.folder}/data", "-k", self.folder,
                              *(word for setting in settings for word in ("-c", setting))),
            f"{folder}/postgresql.log")

    def unprivileged(self, *words):
        user = ["--reuid", str(self.owner.pw_uid), "--regid", str(self.owner.pw_gid), "--clear-groups"] if self.owner else []
        return ["setpriv", *user, *words]

    def make(self):
        subprocess.run(
            self.unprivileged("--", f"{self.programs}/initdb", "-D", f"{self.folder}/data", "-U", "drover", "-A", "trust", "-E", "UTF8",
                              "--locale=C", "--no-sync"), check=True, stdout=subprocess.DEVNULL)
        self.start()

    def start(self):
        """Returns when it takes connections."""
        until = time.monotonic() + self.PATIENCE
        self.server.start()
        while subprocess.run(["pg_isready", "-q", "-h", self.folder]).returncode:
            if time.monotonic() > until:
                sys.exit("chaos: PostgreSQL does not start:\n" + "\n".join(self.server.last_lines()))
            time.sleep(0.02)
            if self.server.fell:
                self.server.start()

    def end(self):
        self.server.end(2)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, sql):
        """Lines that a script gives."""
        asked = subprocess.run(
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "drover", "postgres"], input=sql, capture_output=True, text=True)
        if asked.returncode:
            # As it looks to who reads a file that is being made.
            raise sqlite3.OperationalError(asked.stderr.strip())
        return asked.stdout.splitlines()

    @contextlib.contextmanager
    def looking(self, timeout):
        connection = sqlite3.connect(":memory:", isolation_level=None)
        try:
            self.fill(connection)
            yield connection
        finally:
            connection.close()

    def save(self, path):
        with contextlib.closing(sqlite3.connect(path)) as database:
            self.fill(database)
            database.commit()

    def fill(self, database):
        """All tables that are there, as of one moment."""
        names = ", ".join(f"'{name}'" for name in TABLES)
        known = self.ask(f"SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname IN ({names})")
        selects = [
            f"SELECT json_build_array('{table}', {', '.join(column + cast for column, cast in TABLES[table].items())}) FROM {table};"
            for table in known]
        for table in known:
            database.execute(f"CREATE TABLE {table} ({', '.join(TABLES[table])})")
        rows = {table: [] for table in known}
        for line in self.ask("BEGIN ISOLATION LEVEL REPEATABLE READ;\n" + "\n".join(selects)):
            table, *told = json.loads(line)
            rows[table].append([value(column, cell) for column, cell in zip(TABLES[table], told)])
        for table in known:
            database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(TABLES[table]))})", rows[table])

    def faults(self):
        """Damaged tables and indexes, and rows that an index does not find."""
        checked = subprocess.run(
            [f"{self.programs}/pg_amcheck", "--install-missing", "--heapallindexed", "-h", self.folder, "-U", "drover", "postgres"],
            capture_output=True, text=True)
        return (checked.stdout + checked.stderr).splitlines() if checked.returncode else []
