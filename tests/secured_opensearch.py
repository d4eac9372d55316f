"""A real OpenSearch 3.4 with the real security plugin, for tests of certificates, logins and rights.

Maven Central has the plugin for few versions; 3.4.0 is the newest for which it also has a distribution. That one holds
the transport alone of all modules (no scaled_float, no Painless, no _reindex), which is all that our indices need.

TLS everywhere, certificates from an authority of the session's own (trustme). Users, roles and their mapping are made
through the plugin's own API as its administrator, who is known by a client certificate.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import trustme

from etl.errors import UnavailableError
from etl.servers import folders
from etl.servers.distributions import fetch_distribution, trusting_the_machine
from etl.servers.java import bundled_java
from etl.servers.processes import server_environment

VERSION = "3.4.0"
PLUGIN = "3.4.0.0"
_COMMONS = "4.5.0"
_ADMIN = "issuetide-test-admin"
_CONFIG = ("action_groups", "allowlist", "config", "internal_users", "nodes_dn", "roles", "roles_mapping", "tenants")
_TYPES = {"internal_users": "internalusers", "roles_mapping": "rolesmapping", "action_groups": "actiongroups"}


class CannotDownloadError(Exception):
    """The server or its plugin is not here yet and cannot be had."""


def fetch_secured(folder: Path) -> Path:
    """The unpacked distribution with the plugin in it, below `folder`; downloaded where it is not there yet.

    Raises:
        CannotDownloadError: that failed, also when tried again.
    """
    for last in (False, True):
        try:
            return _fetch(folder)
        except (UnavailableError, requests.RequestException, RuntimeError) as error:
            if last:
                raise CannotDownloadError(
                    f"OpenSearch {VERSION} with the security plugin cannot be downloaded: {str(error)[:300]}"
                ) from error
    raise AssertionError


def _fetch(folder: Path) -> Path:
    home = folder / f"opensearch-{VERSION}-security"
    if home.is_dir():
        return home
    plain = fetch_distribution(folder, VERSION, lambda _: None)
    with folders.hold_lock(folder, seconds=600), tempfile.TemporaryDirectory(prefix=".secured-", dir=folder) as work:
        if home.is_dir():
            return home
        made = Path(work) / "home"
        shutil.copytree(plain, made)
        plugin = made / "plugins" / "opensearch-security"
        with zipfile.ZipFile(_resolve(Path(work), "org.opensearch.plugin", "opensearch-security", PLUGIN)) as packed:
            packed.extractall(plugin)
        # It extends a plugin that is published nowhere, and lacks a library that came with that one.
        descriptor = plugin / "plugin-descriptor.properties"
        lines = descriptor.read_text(encoding="utf-8").splitlines()
        kept = ["extended.plugins=" if line.startswith("extended.plugins=") else line for line in lines]
        descriptor.write_text("\n".join(kept) + "\n", encoding="utf-8")
        shutil.copy(_resolve(Path(work), "org.apache.commons", "commons-collections4", _COMMONS, "jar"), plugin)
        for path in (made, *made.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        made.rename(home)
    return home


def _resolve(work: Path, group: str, name: str, version: str, packaging: str = "zip") -> Path:
    from jgo.maven import MavenContext

    with trusting_the_machine():
        context = MavenContext(repo_cache=work / "repository", local_repos=[], timeout=60)
        return Path(context.project(group, name).at_version(version).artifact(packaging=packaging).resolve())


@dataclass
class SecuredOpenSearch:
    """A running server and its authority.

    url: with the host name that its certificate has. address: the same with its number, which the certificate lacks.
    ca_file: its authority, PEM. strange_ca_file: another one's. folder: where certificates of clients may be put.
    """

    port: int
    folder: Path
    authority: trustme.CA
    ca_file: Path
    strange_ca_file: Path
    process: "subprocess.Popen[bytes]"
    admin: requests.Session = field(repr=False)

    @property
    def url(self) -> str:
        """Where it listens, by the name that its certificate has."""
        return f"https://localhost:{self.port}"

    @property
    def address(self) -> str:
        """Where it listens, by a number that its certificate does not have."""
        return f"https://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """A request as the administrator; what the server answers."""
        answer = self.admin.request(method, f"{self.url}/{path}", json=body, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def make_role(self, name: str, role: Mapping[str, Any]) -> None:
        """Makes or replaces a role."""
        self.ask("PUT", f"_plugins/_security/api/roles/{name}", role)

    def make_user(self, name: str, role: str) -> str:
        """Makes a user who has one role; gives the password."""
        password = f"Pw/ä:@{secrets.token_hex(12)}"
        self.ask("PUT", f"_plugins/_security/api/internalusers/{name}", {"password": password})
        self.ask("PUT", f"_plugins/_security/api/rolesmapping/{role}", {"users": [name]})
        return password

    def client_certificate(self, name: str) -> tuple[Path, Path]:
        """A certificate with the common name `name` and its key, as two PEM files."""
        return _write_certificate(self.authority, self.folder, name)

    def stop(self) -> None:
        """Ends the server."""
        self.admin.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(60)


def _write_certificate(authority: trustme.CA, folder: Path, name: str, *hosts: str) -> tuple[Path, Path]:
    made = authority.issue_cert(*(hosts or (f"{name}.example",)), common_name=name, organization_name="Issuetide")
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return certificate, key


def start_secured(folder: Path, home: Path, *, wait_seconds: float = 240) -> SecuredOpenSearch:
    """Starts the server of `home` with its data below `folder`, as `nobody` where root does it; gives it when ready."""
    java = bundled_java()
    account = folders.server_account(folder / "data")
    given_away = [folder / name for name in ("data", "logs", "conf", "tmp")]
    for each in given_away:
        folders.prepare_folder(each, account)
    if account is not None:
        folders.open_parents(java, account)
        folders.open_parents(home / "lib", account)
    clients = folder / "clients"
    clients.mkdir(exist_ok=True)
    authority, stranger = trustme.CA(organization_name="Issuetide tests"), trustme.CA()
    ca_file, strange_ca_file = clients / "ca.pem", clients / "strange.pem"
    authority.cert_pem.write_to_path(ca_file)
    stranger.cert_pem.write_to_path(strange_ca_file)
    admin = _write_certificate(authority, clients, _ADMIN)
    _configure(folder, ca_file, authority, clients)
    if account is not None:
        for path in (folder / "conf", *(folder / "conf").rglob("*")):
            os.chown(path, account.uid, account.gid)
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            _command(java, home, folder),
            cwd=folder / "tmp",
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            **folders.run_as(account),
        )
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = str(ca_file), (str(admin[0]), str(admin[1]))
    server = SecuredOpenSearch(0, clients, authority, ca_file, strange_ca_file, process, session)
    try:
        _wait_until_ready(server, folder, log, wait_seconds)
    except BaseException:
        server.stop()
        raise
    return server


def _command(java: Path, home: Path, folder: Path) -> list[str]:
    return [
        str(java),
        *("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
        *("-Dlog4j2.disable.jmx=true", "-Dlog4j.shutdownHookEnabled=false", f"-Djava.io.tmpdir={folder / 'tmp'}"),
        f"-Dopensearch.path.home={home}",
        f"-Dopensearch.path.conf={folder / 'conf'}",
        f"-javaagent:{home / 'agent' / 'opensearch-agent.jar'}",
        *("-cp", f"{home}/lib/*", "org.opensearch.bootstrap.OpenSearch"),
    ]


def _configure(folder: Path, ca_file: Path, authority: trustme.CA, clients: Path) -> None:
    conf = folder / "conf"
    node = _write_certificate(authority, clients, "issuetide-test-node", "localhost")
    for source, name in ((ca_file, "ca.pem"), (node[0], "node.pem"), (node[1], "node.key.pem")):
        shutil.copy(source, conf / name)
    tls = {
        f"plugins.security.ssl.{layer}.{setting}": name
        for layer in ("transport", "http")
        for setting, name in (
            ("pemcert_filepath", "node.pem"),
            ("pemkey_filepath", "node.key.pem"),
            ("pemtrustedcas_filepath", "ca.pem"),
        )
    }
    # trustme puts its own organizational unit between the two that we choose.
    settings = {
        "cluster.name": "issuetide-secured",
        "network.host": "127.0.0.1",
        "http.port": "0",
        "transport.port": "0",
        "node.portsfile": True,
        "discovery.type": "single-node",
        "cluster.routing.allocation.disk.threshold_enabled": False,
        "path.data": str(folder / "data"),
        "path.logs": str(folder / "logs"),
        **tls,
        "plugins.security.ssl.transport.enforce_hostname_verification": False,
        "plugins.security.ssl.http.enabled": True,
        "plugins.security.ssl.http.clientauth_mode": "OPTIONAL",
        "plugins.security.allow_default_init_securityindex": True,
        "plugins.security.restapi.roles_enabled": ["all_access"],
        "plugins.security.audit.type": "noop",
        "plugins.security.nodes_dn": ["CN=issuetide-test-node,*"],
        "plugins.security.authcz.admin_dn": [_distinguished_name(clients / f"{_ADMIN}.pem")],
    }
    text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items())
    (conf / "opensearch.yml").write_text(text, encoding="utf-8")
    (conf / "log4j2.properties").write_text(
        "status = error\nappender.console.type = Console\nappender.console.name = console\n"
        "appender.console.layout.type = PatternLayout\nappender.console.layout.pattern = [%d][%-5p][%c{1.}] %m%n\n"
        "rootLogger.level = info\nrootLogger.appenderRef.console.ref = console\n",
        encoding="utf-8",
    )
    security = conf / "opensearch-security"
    security.mkdir(exist_ok=True)
    for name in _CONFIG:
        # Where one of these files is missing the plugin answers 503 for good.
        kind = name.replace("_", "") if name in {"internal_users", "roles_mapping", "action_groups"} else name
        content: dict[str, Any] = {"_meta": {"type": kind, "config_version": 2}}
        if name == "config":
            content["config"] = {"dynamic": {"authc": _LOGINS}}
        (security / f"{name}.yml").write_text(json.dumps(content), encoding="utf-8")


def _distinguished_name(certificate: Path) -> str:
    """The subject of a certificate as the plugin writes it."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.read_bytes()).subject.rfc4514_string()


_LOGINS = {
    "by_certificate": {
        "http_enabled": True,
        "order": 0,
        "http_authenticator": {"type": "clientcert", "challenge": False, "config": {"username_attribute": "cn"}},
        "authentication_backend": {"type": "noop"},
    },
    "by_password": {
        "http_enabled": True,
        "order": 1,
        "http_authenticator": {"type": "basic", "challenge": True},
        "authentication_backend": {"type": "intern"},
    },
}


def _wait_until_ready(server: SecuredOpenSearch, folder: Path, log: Path, wait_seconds: float) -> None:
    """Waits until the plugin has read its configuration; until then it answers 503."""
    ports = folder / "logs" / "http.ports"
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        assert server.process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-4000:]
        if ports.exists():
            lines = [line.rpartition(":")[2] for line in ports.read_text().splitlines() if line.startswith("127.")]
            if lines:
                server.port = int(lines[0])
                try:
                    answer = server.admin.get(f"{server.url}/_plugins/_security/api/roles", timeout=10)
                except requests.RequestException:
                    answer = None
                if answer is not None and answer.status_code == requests.codes.ok:
                    return
        time.sleep(0.3)
    raise AssertionError(f"not ready after {wait_seconds:.0f} s:\n{log.read_text(errors='replace')[-4000:]}")
