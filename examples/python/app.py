"""A small app with an "Update now" button. What updates it is in update.py."""
import json
import os
import uuid
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import update
from docker.errors import ContainerError

VERSION, BOOT = int(os.environ["VERSION"]), str(uuid.uuid4())
NEXT = f"acme-python:{VERSION + 1}"
ended = {"state": "updating"}  # how the last update did; until we have asked, it may be under way


def state():
    """What the button wants to know: docs/protocol.md. A real app would look for releases."""
    if ended["state"] == "updating":
        ended.update({"state": None} | update.last())
    return {
        "version": str(VERSION),
        "boot": BOOT,
        "running": ended["state"] == "updating",
        "last": ended | {"outcome": ended["state"]},
        "available": {"version": str(VERSION + 1)} if update.engine.images.list(NEXT) else None,
    }


class App(SimpleHTTPRequestHandler):
    """The front end's files, and the endpoint that its button speaks to."""

    def do_GET(self):
        if self.path == "/update":
            self.answer(200, state())
        else:
            super().do_GET()

    def do_POST(self):
        # A form on somebody else's page can't send this. A real app asks who it is as well.
        if self.path != "/update" or self.headers["Content-Type"] != "application/json":
            return self.answer(403, {"detail": "not from here"})
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        try:
            update.start(NEXT)
        except ContainerError as refused:
            return self.answer(422, {"detail": refused.stderr.decode()})
        ended["state"] = "updating"
        self.answer(202, {})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def app(*args):
    return App(*args, directory="/www")


ThreadingHTTPServer(("", 80), app).serve_forever()
