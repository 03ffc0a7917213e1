#!/usr/bin/env python3
"""Makes a shop's database of the shape of Chinook: 11 tables, 15,607 rows, one composite key. Usage: make_shop.py DATABASE"""

import random
import sqlite3
import sys

SIZES = {"Album": 347, "Artist": 275, "Customer": 59, "Employee": 8, "Genre": 25, "Invoice": 412, "InvoiceLine": 2240,
         "MediaType": 5, "Playlist": 18, "Track": 3503}
LINKS = 8715


def main():
    db = sqlite3.connect(sys.argv[1])
    chance = random.Random(7)
    for table, size in SIZES.items():
        db.execute(f"CREATE TABLE [{table}] ([{table}Id] INTEGER NOT NULL, [Name] NVARCHAR(160) NOT NULL, [Price] NUMERIC(10,2), "
                   f"[Made] DATETIME, [Note] TEXT, CONSTRAINT [PK_{table}] PRIMARY KEY ([{table}Id]))")
        db.executemany(f"INSERT INTO [{table}] VALUES (?, ?, ?, ?, ?)",
                       [(n, f"{table} {n} ÆØ", chance.choice([0.99, 1.5, 3, None]), f"2026-01-{n % 28 + 1:02} 00:00:00",
                         chance.choice([None, "", "x" * chance.randrange(300)])) for n in range(1, size + 1)])
    db.execute("CREATE TABLE [PlaylistTrack] ([PlaylistId] INTEGER NOT NULL, [TrackId] INTEGER NOT NULL, "
               "CONSTRAINT [PK_PlaylistTrack] PRIMARY KEY ([PlaylistId], [TrackId]))")
    links = [(playlist, track) for playlist in range(1, 19) for track in range(1, 3504)]
    db.executemany("INSERT INTO [PlaylistTrack] VALUES (?, ?)", chance.sample(links, LINKS))
    db.commit()


main()
