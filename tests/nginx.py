"""`python -m tests.nginx`: nginx as in deploy/nginx/, in front of a web server of ours, where nginx is installed."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import django
import psycopg

from tests.servers import ROOT, PostgreSQL, Process, WebServer, free_port, manage, temporary_directory, wait_until

HOST = "tutormax.example"
MAIN = """\
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{}}
http {{
    include /etc/nginx/mime.types;
    client_body_temp_path {home}/bodies;
    proxy_temp_path {home}/answers;
    include {home}/tutormax.conf;
}}
"""
TRUST_ANY = ssl._create_unverified_context()
ROWS = 400_000
"""Of a CSV of 30 MB."""


class Nginx(Process):
    def __init__(self, home: Path, web: WebServer) -> None:
        self.http, self.https = free_port(), free_port()
        prepare(home, web, self.http, self.https)
        command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(home / "nginx.conf")]
        subprocess.run([*command, "-t"], check=True)
        super().__init__(command, {})
        wait_until(lambda: self.ask("GET", "/health/live")[0] == 200, "nginx answers")

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.https, timeout=120, context=TRUST_ANY)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = self.connect()
        try:
            connection.request(method, path, body, {"Host": HOST, **headers})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except OSError:
            return 0, {}, b""
        finally:
            connection.close()

    def open(self, *lines: str) -> ssl.SSLSocket:
        """A connection on which these lines have been sent, and of whose answer little fits into the buffers."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", self.https))
        sock = TRUST_ANY.wrap_socket(plain, server_hostname=HOST)
        sock.sendall("\r\n".join(lines).encode())
        return sock


def prepare(home: Path, web: WebServer, http_port: int, https_port: int) -> None:
    """Puts other paths and ports into our files, and nothing else."""
    text = (ROOT / "deploy" / "nginx" / "tutormax.conf").read_text()
    text = text.replace("/etc/tutormax/", f"{home}/").replace("/var/log/nginx/", f"{home}/")
    text = re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.MULTILINE)
    text = text.replace("listen 80 ", f"listen 127.0.0.1:{http_port} ")
    text = text.replace("listen 443 ", f"listen 127.0.0.1:{https_port} ")
    (home / "tutormax.conf").write_text(text)
    upstream = (ROOT / "deploy" / "nginx" / "upstream.conf").read_text()
    (home / "upstream.conf").write_text(upstream.replace("127.0.0.1:8000", web.url.removeprefix("http://")))
    (home / "nginx.conf").write_text(MAIN.format(home=home))
    (home / "deploy").mkdir()
    script = shutil.copy(ROOT / "deploy" / "prepare", home / "deploy")
    subprocess.run([script, HOST], check=True)
    (home / "deploy" / "tls").rename(home / "tls")


def check_uploads(nginx: Nginx, key: str) -> None:
    head = b"student_id,name,age\n"
    body = head + b"".join(b"n%d,%s,12\n" % (number, b"x" * 60) for number in range(ROWS))
    began = time.monotonic()
    status, _, answer = nginx.ask(
        "POST", "/api/uploads?stream=students", body, Authorization=key, **{"Content-Type": "text/csv"}
    )
    say(f"an upload of {len(body) / 1e6:.0f} MB", status, f"{time.monotonic() - began:.1f} s", answer[:60])
    assert status in (201, 202)


def check_sizes(nginx: Nginx, key: str) -> None:
    status, _, answer = nginx.ask("POST", "/api/students", b"x" * 40_000_000, Authorization=key)
    say("40 MB to /api/students", status, answer[:60])
    assert (status, json.loads(answer)["error"]["code"]) == (413, "too_large")
    for path, size in (("/admin/login/", 5_000_000), ("/nothing", 70_000)):
        status, _, _ = nginx.ask("POST", path, b"x" * size)
        say(f"{size} bytes to {path}", status)
        assert status == 413


def check_slow_clients(nginx: Nginx, key: str) -> None:
    readers = [
        nginx.open("GET /api/students?format=csv HTTP/1.1", f"Host: {HOST}", f"Authorization: {key}", "", "")
        for _ in range(20)
    ]
    senders = [
        nginx.open("POST /api/students HTTP/1.1", f"Host: {HOST}", "Content-Length: 1000", "", "{") for _ in range(20)
    ]
    took = []
    for _ in range(20):
        began = time.monotonic()
        assert nginx.ask("GET", "/health/live")[0] == 200
        took.append(time.monotonic() - began)
        time.sleep(0.2)
    say("20 clients that do not read, 20 that do not send: /health/live took at most", f"{max(took):.2f} s")
    assert max(took) < 5
    wait_until(
        lambda: nginx.ask("GET", "/api/students?format=csv&student_id=none", Authorization=key)[0] == 200, "slot"
    )
    say("and exports are answered again")
    for sock in (*readers, *senders):
        sock.close()


def check_logins(nginx: Nginx) -> None:
    form = b"username=nobody&password=wrong"
    kind = "application/x-www-form-urlencoded"
    statuses = Counter(nginx.ask("POST", "/admin/login/", form, **{"Content-Type": kind})[0] for _ in range(20))
    say("20 log-ins at once", dict(statuses))
    assert statuses[429] >= 13
    assert nginx.ask("GET", "/admin/login/")[0] == 200


def check_headers(nginx: Nginx) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", nginx.http, timeout=5)
    plain.request("GET", "/admin/", headers={"Host": HOST})
    answer = plain.getresponse()
    say("HTTP", answer.status, answer.getheader("Location"))
    assert (answer.status, answer.getheader("Location")) == (301, f"https://{HOST}/admin/")
    _, headers, _ = nginx.ask("GET", "/admin/login/")
    names = (
        "Strict-Transport-Security",
        "Content-Security-Policy",
        "X-Content-Type-Options",
        "Referrer-Policy",
        "Server",
    )
    say("headers", {name: headers[name] for name in names})
    assert nginx.ask("GET", "/x/admin/login/", SCRIPT_NAME="/x")[0] == 404


def check_log(nginx: Nginx, home: Path) -> None:
    nginx.ask("GET", "/uploads/a-secret/progress?token=secret")
    wait_until(lambda: "/uploads/* HTTP" in (home / "tutormax.log").read_text(), "the line")
    assert "secret" not in (home / "tutormax.log").read_text()


def check_restart(nginx: Nginx, web: WebServer, key: str) -> None:
    web.stop()
    status, headers, answer = nginx.ask("GET", "/api/students", Authorization=key)
    say("without web server", status, headers.get("Retry-After"), answer[:60])
    assert (status, json.loads(answer)["error"]["code"], headers["Retry-After"]) == (503, "unavailable", "5")


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
    django.setup()
    from tests.records import INSERT_STUDENTS

    with temporary_directory() as home, PostgreSQL() as server:
        home.chmod(0o755)  # nginx's processes run as another user
        server.start()
        url = server.url("postgres")
        manage("migrate", "--verbosity=0", database_url=url)
        key = f"Api-Key {manage('create_api_key', 'test', database_url=url).stdout.split()[-1]}"
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(INSERT_STUDENTS)
        with WebServer(url, HTTPS="true", ALLOWED_HOSTS=HOST) as web, Nginx(home, web) as nginx:
            check_headers(nginx)
            check_sizes(nginx, key)
            check_logins(nginx)
            check_log(nginx, home)
            check_uploads(nginx, key)
            check_slow_clients(nginx, key)
            check_restart(nginx, web, key)
            say((home / "error.log").read_text())


if __name__ == "__main__":
    main()
