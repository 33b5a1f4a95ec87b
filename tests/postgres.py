"A PostgreSQL of the tests' own, in a temporary folder; without one, they are skipped."
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PASSWORD = "pass:w@rd/{%41}?"
SETTINGS = "-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=16MB -c fsync=off"

def tool(name: str) -> str | None:
    "Where one of PostgreSQL's programs is; Debian keeps them out of the way."
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)]))

def owner() -> dict:
    "What makes `subprocess` run a program as somebody who may start PostgreSQL, which root may not."
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}

def need_postgres() -> None:
    "Skip the test where there is no PostgreSQL."
    pytest.importorskip("psycopg", reason="the extra `scale` is not installed")
    if not (tool("initdb") and tool("pg_ctl")):
        pytest.skip("needs PostgreSQL; on Debian: apt-get install postgresql")
    if owner() and "postgres" not in [user.pw_name for user in pwd.getpwall()]:
        pytest.skip("needs the user postgres: PostgreSQL does not run as root")

def free_port() -> int:
    "A port that nobody uses now."
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]

@contextmanager
def cluster() -> Iterator[str]:
    "The address of an empty database as long as the block lasts, `127.0.0.1:port/name`; its user is `me`."
    need_postgres()
    home = Path(tempfile.mkdtemp(prefix="postgres-"))
    def command(name: str, *arguments: str) -> None:
        subprocess.run([tool(name), "-D", home/"data", *arguments], check=True, cwd=home, **owner(),
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if owner():
            shutil.chown(home, "postgres", "postgres")
        (home/"password").write_text(PASSWORD)
        command("initdb", "-U", "me", "--auth=scram-sha-256", f"--pwfile={home/'password'}", "-E", "UTF8",
                "--no-locale", "--no-sync")
        for _ in range(5): # somebody else may take the port first
            port = free_port()
            with suppress(subprocess.CalledProcessError):
                command("pg_ctl", "start", "-w", "-l", str(home/"log"), "-o", f"-p {port} {SETTINGS}")
                break
        else:
            raise RuntimeError((home/"log").read_text())
        try:
            yield f"127.0.0.1:{port}/postgres"
        finally:
            command("pg_ctl", "stop", "-w", "-m", "immediate")
    finally:
        shutil.rmtree(home)
