"""Plays an ERP: answers as a file says, and writes down what it was asked.

erp.py PORT ANSWER ASKED [CERTIFICATE KEY]

ANSWER is a JSON object, read at each request: {"status": 200, "headers": {}, "body": "...", "delay": 0, "paths": {"/p": {...}}}; "body_file" names a
file with the body. Each request becomes a line of ASKED: {"method", "path", "headers", "body"}."""

import http.server
import json
import os
import ssl
import sys
import threading
import time

port, answer, asked = int(sys.argv[1]), sys.argv[2], sys.argv[3]
lock = threading.Lock()


class Erp(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        with lock, open(asked, "a") as file:
            headers = {name.lower(): value for name, value in self.headers.items()}
            file.write(json.dumps({"method": self.command, "path": self.path, "headers": headers, "body": body}) + "\n")
        with open(answer) as file:
            said = json.load(file)
        said = said.get("paths", {}).get(self.path.split("?")[0], said)
        time.sleep(said.get("delay", 0))
        text = said.get("body", "").encode()
        if "body_file" in said:
            with open(os.path.join(os.path.dirname(answer), said["body_file"]), "rb") as file:
                text = file.read()
        self.send_response(said.get("status", 200))
        for name, value in said.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        try:
            self.wfile.write(text)
        except BrokenPipeError:
            pass

    do_GET = do_POST = do_PUT = serve

    def log_message(self, *_):
        pass


def end_with_parent(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Erp)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
