"""One client that holds as many connections of an HTTP server as it can, while another asks as usual.

Arguments: KIND PORT TOKEN. KIND is how the first client is slow:
  silent  says nothing          head    sends a request's head a byte at a time
  idle    keeps its connections after an answer    reader  asks for much and reads nothing
  body    sends an event to an agent a byte at a time, with the token
Prints what the other client was answered, as JSON: the statuses of some requests with the token, and of some for the health without one;
and whether the server closes a connection on which a byte comes now and then.
"""
import http.client, json, selectors, socket, sys, threading, time

kind, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
beginnings = {
    "silent": b"",
    "head": b"GET /v1/status HTTP/1.1\r\nHost: a\r\nX-Slow: ",
    "idle": b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n",
    "reader": b"GET /page/page.css HTTP/1.1\r\nHost: a\r\n\r\n" * 200,
    "body": b"POST /v1/events/reading HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: 100000\r\n\r\n" % token.encode(),
}
has_ended, opened = threading.Event(), threading.Semaphore(0)


def hold(count):
    """Keeps `count` connections open; each that the server closes is opened again."""
    held, selector = set(), selectors.DefaultSelector()
    while not has_ended.is_set():
        while len(held) < count and not has_ended.is_set():
            try:
                one = socket.create_connection(("127.0.0.1", port), 1)
                if kind == "reader":
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                one.sendall(beginnings[kind])
            except OSError:
                break
            one.setblocking(False)
            held.add(one)
            if kind != "reader":
                selector.register(one, selectors.EVENT_READ)
            opened.release()
        for key, _ in selector.select(0.05):
            try:
                if key.fileobj.recv(65536):
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            selector.unregister(key.fileobj)
            held.discard(key.fileobj)
            key.fileobj.close()
        for one in list(held) if kind in ("head", "body", "reader") else []:
            try:
                one.send(b"x" if kind != "reader" else b"")
            except BlockingIOError:
                pass
            except OSError:
                held.discard(one)
                if kind != "reader":
                    selector.unregister(one)
                one.close()
    for one in held:
        one.close()


def ask(path, headers):
    """The answer's status. On a busy machine this process may be too slow for a deadline of the server, so it asks again where it is cut off."""
    for _ in range(5):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", path, headers=headers)
            status = connection.getresponse().status
            connection.close()
            return status
        except (ConnectionError, http.client.HTTPException) as error:
            answer = repr(error)
        except OSError as error:
            return repr(error)
    return answer


thread = threading.Thread(target=hold, args=(400,))
thread.start()
for _ in range(250):
    opened.acquire(timeout=10)
statuses, healths = [], []
for _ in range(5):
    statuses.append(ask("/v1/status", {"Authorization": "Bearer " + token}))
    healths.append(ask("/v1/health", {}))
    time.sleep(0.1)
has_ended.set()
thread.join()


def is_closed():
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        one.settimeout(0.2)
        one.sendall(beginnings["head"])
        for _ in range(100):
            try:
                one.sendall(b"x")
                if not one.recv(100):
                    return True
            except TimeoutError:
                continue
            except OSError:
                return True
    return False


print(json.dumps({"status": statuses, "health": healths, "closed": is_closed() if kind == "head" else None}))
