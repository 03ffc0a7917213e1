"""Follows /v1/live as a browser does: connects again with Last-Event-ID whenever the connection ends. Ends when the row of pen with the name `last` has
come, and prints what it has then, how often it connected, and how many events came that were not behind the one before.

live.py URL TOKEN FILE    the file is made when the first connection stands"""

import json
import sys
import time
import urllib.error
import urllib.request

url, token, marker = sys.argv[1:]
rows, last, connections, backward, number = {}, None, 0, 0, -1
is_over = False
while not is_over:
    headers = {"Authorization": "Bearer " + token}
    if last:
        headers["Last-Event-ID"] = last
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60)
        connections += 1
        event = {}
        for line in answer:
            line = line.decode().rstrip("\n")
            if line.startswith(":"):
                open(marker, "w").close()
            elif line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                last = event["id"]
                if "data" in event:
                    change = json.loads(event["data"])
                    assert change["cursor"] == last and change["op"] == event["event"], event
                    backward += int(last.split("-")[1]) <= number
                    number = int(last.split("-")[1])
                    key = change["stream"] + " " + change["id"]
                    if change["op"] == "put":
                        rows[key] = change["body"]
                    else:
                        rows.pop(key, None)
                    is_over = change.get("body", {}).get("name") == "last"
                    if is_over:
                        break
                event = {}
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise SystemExit(f"{error.code} {error.read().decode()}")
    except OSError:
        pass
    except Exception as error:  # a chunk that is cut off
        if type(error).__module__ != "http.client":
            raise
    time.sleep(0.05)
print(json.dumps({"rows": rows, "connections": connections, "backward": backward}))
