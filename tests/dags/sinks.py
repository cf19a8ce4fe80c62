"""Servers that keep what is sent to them: mail over SMTP, and JSON over HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any


@contextmanager
def receive_mail() -> Iterator[tuple[int, list[Message]]]:
    """Serve SMTP on a free port; yield it and the messages that came."""
    messages: list[Message] = []

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 sink")
            for line in iter(self.rfile.readline, b""):
                verb = line.decode().strip().upper()
                if verb == "DATA":
                    self.say("354 go on")
                    lines = [text.decode() for text in iter(self.rfile.readline, b".\r\n")]
                    unstuffed = "".join(text.removeprefix(".") if text.startswith("..") else text for text in lines)
                    messages.append(message_from_string(unstuffed, policy=default))
                self.say("221 bye" if verb == "QUIT" else "250 ok")

        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with _serve(ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, messages


@contextmanager
def receive_json() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Serve HTTP on a free port; yield it and the bodies that were posted."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    with _serve(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, bodies


@contextmanager
def _serve(server: ThreadingTCPServer | ThreadingHTTPServer) -> Iterator[int]:
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(10)


def build_connections(mail_port: int, json_port: int) -> dict[str, str]:
    """Return the setting and the Airflow connections that lead to both, as environment variables."""
    mail = {
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": mail_port,
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.org"},
    }
    hook = f"http://127.0.0.1:{json_port}"
    slack = {"conn_type": "slackwebhook", "password": f"{hook}/services/T/B/x"}
    return {
        "OTAKU_NOTIFY": "mailto:ops@example.org,webhook:otaku_webhook,slack:otaku_slack",
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(mail),
        "AIRFLOW_CONN_OTAKU_WEBHOOK": json.dumps({"conn_type": "http", "host": f"{hook}/events"}),
        "AIRFLOW_CONN_OTAKU_SLACK": json.dumps(slack),
    }
