#!/usr/bin/env python3
"""Publishes garbage below drover/v1/ and good bare events in between, to see that a consumer survives the one and takes
the other. Speaks MQTT 3.1.1 over a plain socket by itself (standard library only), at QoS 1 with a bounded number of
messages in flight, so every message counted here was acknowledged by the broker.

Each category has one thing wrong; all topics are valid MQTT (no wildcard, no NUL, valid UTF-8), otherwise the broker would
end the connection and the consumer would never see them. Prints one line of JSON: what was sent, by category, and how
many of them were good (each a different local ID on drover/v1/GOOD1/payload/good).
"""

import argparse
import collections
import json
import random
import socket
import sys
import time


class Publisher:
    """The least of MQTT 3.1.1 that can publish at QoS 1. Section numbers are those of the OASIS specification."""

    def __init__(self, host, port, username, password, in_flight=100):
        self.socket = socket.create_connection((host, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.limit = in_flight
        self.waiting = set()
        self.next_id = 0
        self.acknowledged = 0
        flags = 0x02  # clean session, 3.1.2.4
        payload = self.text(f"drover-garbage-{random.SystemRandom().getrandbits(32):08x}")
        if username is not None:
            flags |= 0x80
            payload += self.text(username)
            if password is not None:
                flags |= 0x40
                payload += self.text(password)
        self.send(0x10, self.text("MQTT") + bytes([4, flags]) + (300).to_bytes(2, "big") + payload)
        kind, body = self.packet()
        if kind != 0x20 or body[1] != 0:
            sys.exit(f"garbage: the broker refused the connection, CONNACK code {body[1] if len(body) > 1 else '?'} (3.2.2.3)")

    @staticmethod
    def text(content):
        encoded = content.encode()
        return len(encoded).to_bytes(2, "big") + encoded

    def send(self, kind, body):
        length = len(body)  # 2.2.3: seven bits a byte
        header = bytearray([kind])
        while True:
            length, digit = length >> 7, length & 0x7F
            header.append(digit | (0x80 if length else 0))
            if not length:
                break
        self.socket.sendall(bytes(header) + body)

    def packet(self):
        while True:
            for end in range(2, min(len(self.received), 5) + 1):
                if self.received[end - 1] & 0x80:
                    continue
                length = sum((self.received[index] & 0x7F) << 7 * (index - 1) for index in range(1, end))
                if len(self.received) < end + length:
                    break
                kind, body = self.received[0], bytes(self.received[end : end + length])
                del self.received[: end + length]
                return kind, body
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("the broker closed the connection")
            self.received += more

    def publish(self, topic, payload, retain=False):
        while len(self.waiting) >= self.limit:
            self.take_acknowledgement()
        self.next_id = self.next_id % 65535 + 1  # 2.3.1: not zero; never one in flight, as the limit is far below 65535
        self.waiting.add(self.next_id)
        self.send(0x33 if retain else 0x32, self.text(topic) + self.next_id.to_bytes(2, "big") + payload)

    def take_acknowledgement(self):
        kind, body = self.packet()
        if kind == 0x40:
            self.waiting.remove(int.from_bytes(body, "big"))
            self.acknowledged += 1

    def close(self):
        while self.waiting:
            self.take_acknowledgement()
        self.send(0xE0, b"")
        self.socket.close()


# What can be wrong


GOOD_TOPIC = "drover/v1/GOOD1/payload/good"
KINDS = ["snapshot", "payload", "batch"]
WRONG_VALUES = [None, True, False, "", "x", "-1", -1, 1.5, 2**53, 2**63, 2**64, -(2**63) - 1, [], [1], {}, {"a": 1}, "x" * 5000, [[]]]


class Garbage:
    """Each method makes one (topic, payload) that no consumer may take for an event."""

    def __init__(self, chance):
        self.chance = chance
        self.made = 0
        self.large = {}

    def machine(self):
        return f"BAD{self.chance.randint(1, 5)}"

    def topic(self):
        return f"drover/v1/{self.machine()}/{self.chance.choice(KINDS)}/{self.chance.choice(['stock', 'temperature', 'orders'])}"

    def event(self, seq):
        return {"seq": seq, "id": str(seq), "op": "put", "version": 1795170600123000 + seq, "at": "2026-11-20T10:30:00.123Z",
                "body": {"id": seq, "stock_json": "{}", "average_consumption": 2.5}}

    def frame(self, events=2):
        """A good frame, for the others to spoil. `b0b0` is a schema that nobody ever published."""
        self.made += 1
        after = self.made * 10
        return {"v": 1, "epoch": "6a5b", "after": after, "through": after + events, "schema": "b0b0",
                "events": [self.event(after + 1 + index) for index in range(events)]}

    def encoded(self, value):
        return json.dumps(value, allow_nan=True).encode()

    def random_bytes(self):
        payload = self.chance.randbytes(self.chance.choice([1, 2, 16, 200, 5000]))
        return self.topic(), b"\xff" + payload  # no JSON text starts with 0xFF

    def empty(self):
        return self.topic(), b""

    def wrong_json(self):
        texts = [b"{", b"}", b"[", b"{]", b"{,}", b"nul", b"{'v':1}", b'{"v":1,}', b'{"v" 1}', b'"', b'{"v":01}', b'{"v":+1}',
                 b'{"v":1}{"v":1}', b'{"v":1} x', b"\x00", b'{"a":"\x01"}', b'{"v":1e}', b'{"v":0x1}', b'{"a":"\\u12"}', b'{"a":"\\q"}',
                 b"// no", b"<v>1</v>", b"v=1", b"\xef\xbb\xbf{", b'{"v":--1}', b" ", b"\n\n"]
        return self.topic(), self.chance.choice(texts)

    def wrong_encoding(self):
        """JSON in its form, but not UTF-8, in a key or in a value."""
        bad = self.chance.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf"])
        text = self.encoded(self.frame())
        return self.topic(), self.chance.choice([text.replace(b"6a5b", bad), text.replace(b'"epoch"', b'"ep' + bad + b'"')])

    def truncated(self):
        text = self.encoded(self.frame(self.chance.randint(1, 20)))
        return self.topic(), text[: self.chance.randint(1, len(text) - 1)]

    def other_shape(self):
        shapes = [1, -1, 0.5, "frame", True, None, [], [1, 2], [[]], [{}], {}, {"v": 1}, {"events": []}, {"hello": "world"},
                  [self.frame()], {"frame": self.frame()}, {"id": "7"}, {"body": {}}, {"ID": "7", "Body": {}}]
        return self.topic(), self.encoded(self.chance.choice(shapes))

    def wrong_bare(self):
        """A bare event with a wrong identity or body."""
        shapes = [{"id": None, "body": {}}, {"id": [], "body": {}}, {"id": {}, "body": {}}, {"id": True, "body": {}}, {"id": "", "body": {}},
                  {"id": "7", "body": "text"}, {"id": "7", "body": []}, {"id": "7", "body": 7}, {"id": "7", "body": None}]
        return f"drover/v1/{self.machine()}/payload/temperature", self.encoded(self.chance.choice(shapes))

    def wrong_type(self):
        """A frame with one field of a type or a size that it cannot have."""
        frame = self.frame()
        field = self.chance.choice(["v", "epoch", "after", "through", "schema", "events"])
        fitting = {
            "v": lambda value: False,
            "epoch": lambda value: isinstance(value, str) and value not in ("", "x" * 5000),
            "after": lambda value: False,
            "through": lambda value: type(value) is int and 0 <= value <= 2**63 - 1,
            # A frame without a schema, or with one that nobody knows, may have to wait instead: not garbage.
            "schema": lambda value: value is None or isinstance(value, str),
            "events": lambda value: value == [],
        }[field]
        frame[field] = self.chance.choice([value for value in WRONG_VALUES if not fitting(value)])
        return self.topic(), self.encoded(frame)

    def wrong_event(self):
        """An event with one field of a type that it cannot have."""
        frame = self.frame()
        field = self.chance.choice(["seq", "id", "op", "version", "body", "event"])
        wrong = {
            "seq": [None, "x", 1.5, -1, [], {}, 2**64, True],
            "id": [None, [], {}, True, ""],
            "op": [None, "", "PUT", "upsert", 1, [], {}],
            "version": [None, "x", -1, 1.5, [], {}, 2**53, 2**64, True],
            "body": [None, "x", 1, [], True, [{}]],
            "event": [None, 1, "x", [], True, {}],
        }[field]
        if field == "event":
            frame["events"][self.chance.randrange(2)] = self.chance.choice(wrong)
        else:
            frame["events"][self.chance.randrange(2)][field] = self.chance.choice(wrong)
        return self.topic(), self.encoded(frame)

    def missing_field(self):
        frame = self.frame()
        field = self.chance.choice(["v", "epoch", "after", "through", "events", "seq", "id", "op", "version"])
        if field in frame:
            del frame[field]
        else:
            del frame["events"][self.chance.randrange(2)][field]
        return self.topic(), self.encoded(frame)

    def wrong_interval(self):
        """Seqs that the interval does not cover, an interval that runs backwards, seqs twice or in disorder."""
        frame = self.frame()
        events, after, through = frame["events"], frame["after"], frame["through"]
        which = self.chance.randrange(5)
        if which == 0:
            frame["after"], frame["through"] = through, after
        elif which == 1:
            events[0]["seq"] = after
        elif which == 2:
            events[1]["seq"] = through + 1
        elif which == 3:
            events[1]["seq"] = events[0]["seq"]
        else:
            events.reverse()
        return self.topic(), self.encoded(frame)

    def wrong_version(self):
        frame = self.frame()
        frame["v"] = self.chance.choice([0, 2, 3, 99, -1, 1.5, "1", "2", 2**31, 2**63])
        return self.topic(), self.encoded(frame)

    def huge_numbers(self):
        text = self.encoded(self.frame()).decode()
        digits = self.chance.choice(["9" * 40, "1e400", "-1e999", "1" + "0" * 3000, "18446744073709551616"])
        field = self.chance.choice(["after", "through", "seq", "version"])
        start = text.index(f'"{field}": ') + len(f'"{field}": ')
        end = min(found for found in (text.find(",", start), text.find("}", start)) if found > 0)
        return self.topic(), (text[:start] + digits + text[end:]).encode()

    def deep_nesting(self):
        depth = self.chance.choice([100, 1000, 20_000, 100_000])
        form = self.chance.randrange(3)
        if form == 0:
            return self.topic(), b"[" * depth + b"]" * depth
        if form == 1:
            return self.topic(), b'{"v":' * depth + b"1" + b"}" * depth
        return self.topic(), b'{"v":1,"events":' + b"[" * depth

    def wrong_tag(self):
        """Tagged values that decode to nothing."""
        frame = self.frame()
        frame["events"][0]["body"]["trace"] = self.chance.choice(
            [{"$blob": "not base64!"}, {"$blob": 7}, {"$blob": None}, {"$blob": "QQ==", "more": 1}, {"$what": 1}, {"$blob": ["QQ=="]}])
        return self.topic(), self.encoded(frame)

    def unknown_schema(self):
        """Good frames with a schema that never comes."""
        return self.topic(), self.encoded(self.frame(self.chance.randint(1, 100)))

    def wrong_kind(self):
        kind = self.chance.choice(["snapshots", "Payload", "unknown", "", " ", "batch ", "röntgen", "…", "down", "command"])
        return f"drover/v1/{self.machine()}/{kind}/stock", self.encoded(self.frame())

    def wrong_levels(self):
        machine = self.machine()
        topics = ["drover/v1", "drover/v1/", f"drover/v1/{machine}", f"drover/v1/{machine}/", f"drover/v1/{machine}/snapshot",
                  f"drover/v1/{machine}/snapshot/", f"drover/v1/{machine}/snapshot/stock/", f"drover/v1/{machine}/snapshot/stock/deeper",
                  f"drover/v1/{machine}//stock", f"drover/v1//snapshot/stock", "drover/v1///", "drover/v1//////",
                  f"drover/v1/{machine}/status/more", f"drover/v1/{machine}/schema", "drover/v1/" + "/".join(["x"] * 150)]
        return self.chance.choice(topics), self.encoded(self.frame())

    def wrong_machine(self):
        machine = self.chance.choice([".hidden", "-dash", "_low", " ", "a b", "a;b", "a'b", 'a"b', "ÄÖÜ", "機械", "😀", "x" * 65, "x" * 3000,
                                      "..", "a\\b", "MAH001;DROP TABLE", "a\u00a0b"])
        return f"drover/v1/{machine}/payload/good", self.encoded({"id": "1", "body": {"value": 1}})

    def wrong_stream(self):
        stream = self.chance.choice([" ", 'a"b', "a'b", "a;b", "機械", "😀", "x" * 300, "..", "drover_outbox", "sqlite_master", "a b", "a\\b"])
        return f"drover/v1/{self.machine()}/payload/{stream}", self.encoded({"id": "1", "body": "no object"})

    def wrong_schema(self):
        shapes = [1, [], {}, "x", None, {"columns": 1}, {"columns": [1]}, {"columns": [], "key": 1}, {"v": 1, "schema": 7, "columns": [{"name": 1}]},
                  {"v": 1, "schema": "b1", "kind": "unknown", "columns": [{"name": "a\"; DROP TABLE x; --", "type": 1}], "key": ["b"]}]
        return f"drover/v1/{self.machine()}/schema/stock", self.encoded(self.chance.choice(shapes))

    def wrong_status(self):
        return f"drover/v1/{self.machine()}/status", self.chance.choice([b"{", b"up", b"[]", b"7", b"\xff\xfe", b'{"v":"x"}', b'{"state":[]}'])

    def wrong_reply(self):
        name = self.chance.choice(["down-confirm", "reply/1", "reply/"])
        return f"drover/v1/{self.machine()}/{name}", self.chance.choice([b"{", b"[]", b"7", b"\x00", b'{"through":"x"}'])

    def five_megabytes(self):
        """Three forms: bytes, one long string in JSON that ends too early, and a good JSON text of a wrong shape."""
        form = self.chance.randrange(3)
        if form not in self.large:
            size = 5_000_000
            self.large[form] = [
                lambda: b"\xff" + self.chance.randbytes(size),
                lambda: b'{"id":"7","body":{"text":"' + b"x" * size,
                lambda: b"[" + b"1," * (size // 2) + b"1]",
            ][form]()
        return self.topic(), self.large[form]

    def good(self, number):
        return GOOD_TOPIC, self.encoded({"id": f"g{number}", "body": {"number": number, "text": f"good {number} ✓", "half": number / 2}})


CATEGORIES = [
    "random_bytes", "empty", "wrong_json", "wrong_encoding", "truncated", "other_shape", "wrong_bare", "wrong_type", "wrong_event",
    "missing_field", "wrong_interval", "wrong_version", "huge_numbers", "deep_nesting", "wrong_kind", "wrong_levels",
    "wrong_machine", "wrong_stream", "wrong_schema", "wrong_status", "wrong_reply",
]
# Only with --only: what a consumer that asks for the schema first may hold back for a while instead of refusing it.
WAITING = ["wrong_tag", "unknown_schema"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("port", metavar="PORT", type=int)
    parser.add_argument("--messages", type=int, default=10000, help="all together, the good ones included (default 10000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--good-every", type=int, default=20, help="one good event in so many messages (default 20)")
    parser.add_argument("--large", type=int, default=5, help="payloads of 5 MB among them (default 5)")
    parser.add_argument("--only", help="only these categories, separated by commas: " + ", ".join(CATEGORIES + WAITING))
    parser.add_argument("--retain-schemas", action="store_true", help="publish the wrong schemas and statuses retained")
    parser.add_argument("--dump", metavar="FILE", help="write category, topic and start of each message there, a line of JSON each")
    parser.add_argument("--username")
    parser.add_argument("--password-file")
    arguments = parser.parse_args()

    categories = arguments.only.split(",") if arguments.only else CATEGORIES
    unknown = [name for name in categories if name not in CATEGORIES + WAITING]
    if unknown:
        parser.error(f"--only: unknown categories {', '.join(unknown)}")
    password = None
    if arguments.password_file:
        with open(arguments.password_file, encoding="utf-8") as file:
            password = file.read().rstrip("\n")

    chance = random.Random(arguments.seed)
    garbage = Garbage(chance)
    large_at = set(chance.sample(range(arguments.messages), min(arguments.large, arguments.messages)))
    sent = collections.Counter()
    good = 0
    size = 0
    started = time.monotonic()
    dump = open(arguments.dump, "w", encoding="utf-8") if arguments.dump else None
    publisher = Publisher(arguments.host, arguments.port, arguments.username, password)
    try:
        for number in range(arguments.messages):
            if number in large_at:
                category, (topic, payload) = "five_megabytes", garbage.five_megabytes()
            elif number % arguments.good_every == arguments.good_every - 1:
                good += 1
                category, (topic, payload) = "good", garbage.good(good)
            else:
                category = chance.choice(categories)
                topic, payload = getattr(garbage, category)()
            retain = arguments.retain_schemas and category in ("wrong_schema", "wrong_status")
            publisher.publish(topic, payload, retain)
            sent[category] += 1
            size += len(payload)
            if dump:
                dump.write(json.dumps([category, topic, len(payload), payload[:300].decode("latin-1")], ensure_ascii=False) + "\n")
        publisher.close()
    except (ConnectionError, OSError) as error:
        last = f"{category} to {topic[:100]!r}"
        print(f"garbage: {error}; {publisher.acknowledged} acknowledged, the last message sent was {last}", file=sys.stderr)
        return 1
    finally:
        if dump:
            dump.close()
    print(json.dumps({
        "sent": sum(sent.values()), "acknowledged": publisher.acknowledged, "good": good,
        "garbage": sum(sent.values()) - good, "bytes": size, "seconds": round(time.monotonic() - started, 2),
        "categories": dict(sorted(sent.items())),
    }))
    return 0


if __name__ == "__main__":
    sys.exit(main())
