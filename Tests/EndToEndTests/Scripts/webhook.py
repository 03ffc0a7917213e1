"""Takes what is posted: each body is a line of the file, with the header Authorization in front. While a second file is there, it answers 503. A certificate
and its key make it speak TLS."""

import http.server
import os
import ssl
import sys

port, took, away = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        refuses = os.path.exists(away)
        with open(took if not refuses else away, "a") as file:
            file.write(f"{self.headers['Authorization']} {body}\n")
        self.send_response(503 if refuses else 204)
        self.end_headers()


server = http.server.HTTPServer(("", port), Receiver)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
