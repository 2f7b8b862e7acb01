"""Servers that answer as a test tells them to, over real HTTP."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESET = "reset"  # instead of a status: break the connection off
STALL = "stall"  # instead of a status: say nothing until the client leaves
CUT_OFF = "cut off"  # instead of a status: 200, and less than was promised


class Heard(list):
    """Paths asked for, in order; `headers` and `most_at_once` beside them."""

    def __init__(self):
        super().__init__()
        self.headers: list[dict] = []
        self.now = self.most_at_once = 0
        self.lock = threading.Lock()


@contextmanager
def answering(*script, reply: Callable[[str, int], tuple] | None = None) -> Iterator[tuple]:
    """Give these answers, (status, type, body, *headers), one after another, the last for ever.

    Or those of `reply`, which gets the path and how many were asked before. Yields the server's
    address and what it heard.
    """
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self):
            with heard.lock:
                number = len(heard)
                heard.append(self.path)
                heard.headers.append(dict(self.headers))
                heard.now += 1
                heard.most_at_once = max(heard.most_at_once, heard.now)
            try:
                self.answer(*(reply or scripted)(self.path, number))
            finally:
                with heard.lock:
                    heard.now -= 1

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def answer(self, status, kind="text/html", body=b"", *headers):
            if status in (RESET, STALL):
                self.close_connection = True
                if status == STALL:
                    self.connection.recv(1)  # returns when the client has gone
                return
            self.send_response(200 if status == CUT_OFF else status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) + 99 * (status == CUT_OFF)))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = self.close_connection or status == CUT_OFF

        def log_message(self, *_):
            pass

    def scripted(path, number):
        return script[min(number, len(script) - 1)]

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # with the 5 of socketserver, many at once must wait to connect

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
