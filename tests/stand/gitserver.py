# SPDX-License-Identifier: Apache-2.0
"""Git over https and ssh as others run it, a forward proxy, and a server that says nothing.

`GitHttp` is nginx in front of git's own http-backend, `GitSsh` is OpenSSH's sshd. `ForwardProxy` and
`SilentServer` are small threads, because what they must do no real server does on request.
"""

import os
import socket
import subprocess
import threading

from .process import Process, free_port, is_port_open, wait_until

BACKEND = "/usr/lib/git-core/git-http-backend"


class GitHttp:
    """The bare repositories below `repos` as http(s)://127.0.0.1:PORT/git/NAME.

    `tls` is (certificate, key); without it plain http. `user` and `password` demand basic credentials,
    `token` a bearer token, `client_ca` a client certificate.
    """

    def __init__(self, directory, repos, tls=None, user=None, password=None, token=None, client_ca=None,
                 port=None):
        self.directory, self.port = str(directory), port or free_port()
        os.makedirs(f"{self.directory}/tmp", exist_ok=True)
        self.base_url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/git"
        self.access_log = f"{self.directory}/access.log"
        self.config = f"{self.directory}/nginx.conf"
        self.fcgi, self.nginx = None, None
        guards = []
        if user:
            htpasswd = f"{self.directory}/htpasswd"
            subprocess.run(["htpasswd", "-bc", htpasswd, user, password], check=True, capture_output=True)
            guards += ["auth_basic git;", f"auth_basic_user_file {htpasswd};"]
        if token:
            guards.append(f'if ($http_authorization != "Bearer {token}") {{ return 401; }}')
        security = []
        if tls:
            security += [f"ssl_certificate {tls[0]};", f"ssl_certificate_key {tls[1]};"]
        if client_ca:
            security += [f"ssl_client_certificate {client_ca};", "ssl_verify_client on;"]
        # A file answer-CODE in the directory makes every request answer CODE: no reload, no race.
        for code in (403, 404, 429, 500, 503):
            guards.append(f"if (-f {self.directory}/answer-{code}) {{ return {code}; }}")
        with open(self.config, "w") as f:
            f.write(self._config(repos, "ssl" if tls else "", "\n".join(security), "\n".join(guards)))
        self.start()

    def _config(self, repos, ssl, security, guards):
        temp = "\n".join(f"{kind}_temp_path {self.directory}/tmp/{kind};"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""user root;
daemon off;
worker_processes 1;
pid {self.directory}/nginx.pid;
error_log {self.directory}/error.log info;
events {{ worker_connections 64; }}
http {{
{temp}
log_format plain '$request_method $request_uri $status';
access_log {self.access_log} plain;
server {{
listen 127.0.0.1:{self.port} {ssl};
{security}
location ~ ^/git(/.*)$ {{
{guards}
client_max_body_size 0;
include /etc/nginx/fastcgi_params;
fastcgi_param SCRIPT_FILENAME {BACKEND};
fastcgi_param GIT_PROJECT_ROOT {repos};
fastcgi_param GIT_HTTP_EXPORT_ALL "";
fastcgi_param PATH_INFO $1;
fastcgi_param REMOTE_USER $remote_user;
fastcgi_param HTTP_AUTHORIZATION "";
fastcgi_buffering off;
fastcgi_pass unix:{self.directory}/fcgi.sock;
}}
}}
}}
"""

    def start(self):
        sock = f"{self.directory}/fcgi.sock"
        if os.path.exists(sock):
            os.unlink(sock)
        self.fcgi = Process(["fcgiwrap", "-s", f"unix:{sock}"], f"{self.directory}/fcgi.log",
                            {"HOME": self.directory})
        wait_until(lambda: os.path.exists(sock), "fcgiwrap listens")
        self.nginx = Process(["nginx", "-p", self.directory, "-e", f"{self.directory}/error.log",
                              "-c", self.config], f"{self.directory}/nginx.log")
        wait_until(lambda: is_port_open(self.port) or not self.nginx.is_running(), "nginx listens")
        assert self.nginx.is_running(), self.nginx.tail()

    def stop(self):
        for process in (self.nginx, self.fcgi):
            if process is not None and process.is_running():
                process.kill() if process is self.fcgi else process.stop()

    def url(self, name="fleet.git"):
        return f"{self.base_url}/{name}"

    def answer(self, code):
        """From now on every request is answered `code`; None: as git does."""
        for name in os.listdir(self.directory):
            if name.startswith("answer-"):
                os.unlink(f"{self.directory}/{name}")
        if code is not None:
            open(f"{self.directory}/answer-{code}", "w").close()

    def requests(self):
        """[(method, uri, status)] of every request so far."""
        if not os.path.exists(self.access_log):
            return []
        return [(method, uri, int(status)) for method, uri, status in
                (line.split() for line in open(self.access_log) if line.endswith("\n"))]

    def log_text(self):
        """Everything that the server wrote down."""
        return "".join(open(path, errors="replace").read()
                       for path in (self.access_log, f"{self.directory}/error.log") if os.path.exists(path))


class GitSsh:
    """sshd on loopback; `authorized` are public key files that may log in as root."""

    def __init__(self, directory, authorized, host_key="ed25519", port=None):
        self.directory, self.port = str(directory), port or free_port()
        os.makedirs(self.directory, exist_ok=True)
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # privilege separation; made by systemd elsewhere
        self.keys = f"{self.directory}/authorized_keys"
        with open(self.keys, "w") as f:
            f.writelines(open(path).read() for path in authorized)
        self.process = None
        self.start(host_key)

    def start(self, host_key="ed25519"):
        """Starts with the host key of that kind, making one where there is none."""
        key = f"{self.directory}/host_{host_key}"
        if not os.path.exists(key):
            kind = host_key.split("-")[0]
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True)
        self.host_key = key
        config = f"{self.directory}/sshd_config"
        with open(config, "w") as f:
            f.write(f"""ListenAddress 127.0.0.1:{self.port}
HostKey {key}
AuthorizedKeysFile {self.keys}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
LogLevel VERBOSE
""")
        self.process = Process(["/usr/sbin/sshd", "-D", "-e", "-f", config], f"{self.directory}/sshd.log")
        wait_until(lambda: is_port_open(self.port) or not self.process.is_running(), "sshd listens")
        assert self.process.is_running(), self.process.tail()

    def stop(self):
        if self.process is not None and self.process.is_running():
            self.process.stop()

    def restart(self, host_key):
        self.stop()
        self.start(host_key)

    def url(self, path):
        return f"ssh://root@127.0.0.1:{self.port}{path}"

    def known_hosts(self, path, hashed=False):
        """Writes the line of this server, and returns `path`."""
        kind, blob = open(self.host_key + ".pub").read().split()[:2]
        with open(path, "w") as f:
            f.write(f"[127.0.0.1]:{self.port} {kind} {blob}\n")
        if hashed:
            subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
            assert "127.0.0.1" not in open(path).read()
        return path

    def logins(self):
        return self.process.tail(1 << 20).count("Accepted publickey")


class _Server:
    """A listening socket and a thread per connection."""

    def __init__(self, port=None):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port or 0))
        self.port = self.listener.getsockname()[1]
        self.listener.listen(16)
        self.open = [self.listener]
        self.is_stopping = False
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_stopping:
                client.close()
                return
            self.open.append(client)
            thread = threading.Thread(target=self._run, args=(client,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _run(self, client):
        try:
            self.serve(client)
        except OSError:
            pass
        finally:
            client.close()

    def serve(self, client):
        raise NotImplementedError

    def stop(self):
        self.is_stopping = True
        for s in self.open:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
        for thread in self.threads:
            thread.join(10)


class SilentServer(_Server):
    """Accepts and never answers."""

    def __init__(self, port=None):
        self.accepted = 0
        super().__init__(port)

    def serve(self, client):
        self.accepted += 1
        while client.recv(65536):
            pass


class ForwardProxy(_Server):
    """An HTTP proxy that carries out CONNECT. After `cut_after` bytes from the server it closes the
    connection; `requests` are the targets asked for, `heads` the requests with their headers."""

    def __init__(self, cut_after=None):
        self.requests, self.heads, self.cut_after = [], [], cut_after
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        method, target = head.split(b" ", 2)[:2]
        self.heads.append(head.decode(errors="replace"))
        self.requests.append((method.decode(), target.decode()))
        if method != b"CONNECT":
            client.sendall(b"HTTP/1.1 405 only CONNECT\r\nContent-Length: 0\r\n\r\n")
            return
        host, port = target.decode().rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as server:
            server.settimeout(None)
            self.open.append(server)
            client.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
            upward = threading.Thread(target=self._pump, args=(client, server, None), daemon=True)
            upward.start()
            self._pump(server, client, self.cut_after)
            upward.join(10)

    @staticmethod
    def _pump(source, sink, limit):
        passed = 0
        try:
            while True:
                piece = source.recv(65536)
                if not piece or (limit is not None and passed + len(piece) > limit):
                    break
                sink.sendall(piece)
                passed += len(piece)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
