"""faults.py: crashes, cut clients and full disks; nothing acknowledged is lost.

It starts the server by SERVER_CMD, in the foreground, and again after every
kill. As root it also mounts small file systems below LOCAL_ROOT, to fill them,
make them read-only, and copy one at an instant, as a power cut leaves it. The
rest of the environment, and what is printed, is as lib.sh has it.
"""

import contextlib
import hashlib
import logging
import os
import posixpath
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import paramiko

logging.getLogger("paramiko").setLevel(logging.CRITICAL)

HOST, PORT, USER = os.environ["HOST"], int(os.environ["PORT"]), os.environ["SFTP_USER"]
KEY = paramiko.Ed25519Key.from_private_key_file(os.environ["SFTP_KEY"])
DISK = os.path.join(os.environ["LOCAL_ROOT"], f"faults-{os.getpid()}")
REMOTE = posixpath.join(os.environ["REMOTE_DIR"], f"faults-{os.getpid()}")
ROUNDS = 4  # kills of each kind
STOPS_WITHIN = 20  # seconds after SIGTERM
CHUNK = 32000

rnd = random.Random(7)
passed = total = 0


def report(ok, name, detail=""):
    global passed, total
    total += 1
    passed += bool(ok)
    print(f"{'ok  ' if ok else 'FAIL'} {name}", flush=True)
    if detail:
        print(f"     {detail}", flush=True)


class Server:
    """The server under test, as a process of ours."""

    def start(self):
        """Returns how many seconds it took until it listened."""
        begin = time.monotonic()
        with open(os.environ["SERVER_LOG"], "ab") as log:
            self.process = subprocess.Popen(
                "exec " + os.environ["SERVER_CMD"], shell=True, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        while time.monotonic() - begin < 30:
            with contextlib.suppress(OSError), socket.create_connection((HOST, PORT), 1):
                return time.monotonic() - begin
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise SystemExit(f"FAIL the server does not come up: {self.process.poll()}")

    def kill(self, how=signal.SIGKILL):
        """Reports whether it ended in time; it has ended in any case."""
        self.process.send_signal(how)
        try:
            self.process.wait(STOPS_WITHIN)
            return True
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False

    def open_files(self):
        """Returns how many files below DISK it has open."""
        n = 0
        folder = f"/proc/{self.process.pid}/fd"
        for fd in os.listdir(folder):
            with contextlib.suppress(OSError):
                n += os.readlink(f"{folder}/{fd}").startswith(DISK + "/")
        return n


server = Server()


@contextlib.contextmanager
def sftp():
    """A session of its own connection."""
    transport = paramiko.Transport(socket.create_connection((HOST, PORT), 10))
    try:
        transport.connect(username=USER, pkey=KEY)
        client = paramiko.SFTPClient.from_transport(transport)
        client.get_channel().settimeout(30)
        yield client
    finally:
        transport.close()


def put(client, path, data, pipelined=True, fsync=False):
    """Returns when the server has acknowledged the close."""
    with client.open(path, "wb") as f:
        f.set_pipelined(pipelined)
        for at in range(0, len(data), CHUNK):
            f.write(data[at:at + CHUNK])
        client._finish_responses(f)
        if fsync:
            client._request(paramiko.sftp.CMD_EXTENDED, "fsync@openssh.com", f.handle)
        # f.close would not mind a connection that ends before the answer.
        client._request(paramiko.sftp.CMD_CLOSE, f.handle)
        f._closed = True


def content(path):
    """Returns what the disk has, or None."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


class Uploads:
    """Sessions that put one file after another until they are stopped or cut."""

    def __init__(self, folder, sessions=4, fsync=False):
        self.folder, self.fsync = folder, fsync
        self.begun, self.acknowledged = {}, set()
        self.stopping = threading.Event()
        os.makedirs(f"{DISK}/{folder}", exist_ok=True)
        self.threads = [threading.Thread(target=self.work, args=(i,), daemon=True) for i in range(sessions)]
        for t in self.threads:
            t.start()

    def work(self, session):
        r = random.Random(session)
        with contextlib.suppress(Exception), sftp() as client:  # they are cut, that is the point
            n = 0
            while not self.stopping.is_set():
                n += 1
                name = f"{session}-{n}"
                data = r.randbytes(r.choice([0, 100, 5000, 70000, 400000, 1500000]))
                self.begun[name] = data
                put(client, f"{REMOTE}/{self.folder}/{name}", data, session % 2 == 0, self.fsync)
                self.acknowledged.add(name)

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join(30)

    def judge(self):
        """Returns names that are lost, names with other bytes, and how many are incomplete."""
        lost, holes, partial = [], [], 0
        for name, data in self.begun.items():
            got = content(f"{DISK}/{self.folder}/{name}")
            if name in self.acknowledged:
                if got != data:
                    lost.append(name)
            elif got is not None and got != data:
                partial += 1
                if not data.startswith(got):
                    holes.append(name)
        return lost, holes, partial


def kills(how, name):
    """The server is killed while four sessions put files."""
    lost, holes, acknowledged, partial, late, slowest = [], [], 0, 0, 0, 0.0
    for i in range(ROUNDS):
        uploads = Uploads(f"{name}-{i}")
        time.sleep(0.5 + rnd.random())
        late += not server.kill(how)
        uploads.stop()
        slowest = max(slowest, server.start())
        l, h, p = uploads.judge()
        lost, holes, partial = lost + l, holes + h, partial + p
        acknowledged += len(uploads.acknowledged)
        with sftp() as client:
            lost += [n for n in uploads.acknowledged
                     if client.stat(f"{REMOTE}/{uploads.folder}/{n}").st_size != len(uploads.begun[n])]
    report(not late, f"{name}: the server ends in time", f"{late} of {ROUNDS} late, slowest start {slowest:.1f} s")
    report(acknowledged and not lost, f"{name}: acknowledged files are whole", f"{acknowledged} acknowledged, lost {lost[:3]}")
    report(not holes, f"{name}: incomplete files have no holes", f"{partial} incomplete, wrong {holes[:3]}")


def kills_during_renames():
    """One session replaces a file by put and posix-rename, again and again."""
    os.mkdir(f"{DISK}/rename")
    renames = torn = 0

    def work(stopping):
        nonlocal renames
        with contextlib.suppress(Exception), sftp() as client:
            n = 0
            while not stopping.is_set():
                n += 1
                put(client, f"{REMOTE}/rename/new", b"%08d" % n * 20000)
                client.posix_rename(f"{REMOTE}/rename/new", f"{REMOTE}/rename/final")
                renames += 1

    for _ in range(ROUNDS // 2):
        stopping = threading.Event()
        thread = threading.Thread(target=work, args=(stopping,), daemon=True)
        thread.start()
        time.sleep(0.5 + rnd.random())
        server.kill()
        stopping.set()
        thread.join(30)
        server.start()
        got = content(f"{DISK}/rename/final")
        torn += got is not None and (len(got) != 160000 or got != got[:8] * 20000)
    report(renames and not torn, "SIGKILL: a renamed file is one version or the other", f"{renames} renames, {torn} torn")


def cut_clients():
    """Twenty clients go away in the middle of a file, and come back for the rest."""
    os.mkdir(f"{DISK}/cut")
    files = [rnd.randbytes(1200000) for _ in range(20)]
    for i, data in enumerate(files):
        with sftp() as client:
            put(client, f"{REMOTE}/cut/{i}.whole", data)
            f = client.open(f"{REMOTE}/cut/{i}", "wb")
            f.set_pipelined(True)
            for at in range(0, rnd.randrange(1, 30) * CHUNK, CHUNK):
                f.write(data[at:at + CHUNK])
            connection = client.get_channel().get_transport().sock
            if i % 2:  # a reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            else:
                connection.shutdown(socket.SHUT_RDWR)
            f.close = lambda: None  # nor when it is collected
    deadline = time.monotonic() + 5
    while server.open_files() and time.monotonic() < deadline:
        time.sleep(0.1)
    report(not server.open_files(), "cut clients: no file stays open", f"{server.open_files()} open")

    wrong = []
    with sftp() as client:
        for i, data in enumerate(files):
            path = f"{DISK}/cut/{i}"
            if content(path + ".whole") != data or not data.startswith(content(path) or b""):
                wrong.append(i)
                continue
            at = client.stat(f"{REMOTE}/cut/{i}").st_size if os.path.exists(path) else 0
            with client.open(f"{REMOTE}/cut/{i}", "r+b" if at else "wb") as f:
                f.seek(at)
                f.write(data[at:])
            if content(path) != data:
                wrong.append(i)
    report(not wrong, "cut clients: earlier files are whole, cut ones can be resumed", f"wrong {wrong}")


@contextlib.contextmanager
def mounted(name, *args):
    """A file system at DISK/name, by mount with args."""
    path = f"{DISK}/{name}"
    os.mkdir(path)
    subprocess.run(["mount", *args, path], check=True)
    try:
        yield path
    finally:
        for _ in range(20):  # the server may still have a file open
            if subprocess.run(["umount", path], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.3)
        subprocess.run(["umount", "-l", path])


def error_of(f, *args):
    """Returns the error that a request was answered with, or None."""
    try:
        f(*args)
    except (EOFError, socket.timeout):
        raise  # the session is dead
    except IOError as e:
        return e
    return None


def full_disk():
    with mounted("full", "-t", "tmpfs", "-o", "size=64m", "tmpfs") as path, sftp() as client:
        there, error, size = {}, None, 4000000
        while error is None and len(there) < 40:
            name, data = f"f{len(there)}", rnd.randbytes(size)
            error = error_of(put, client, f"{REMOTE}/full/{name}", data, len(there) % 2 == 0)
            if error is None:
                there[name] = hashlib.sha256(data).digest()
        report(error is not None, "full disk: the client is told, the session lives", repr(error))
        bad = [n for n, d in there.items() if hashlib.sha256(content(f"{path}/{n}")).digest() != d]
        report(len(there) >= 8 and not bad, "full disk: acknowledged files are whole", f"{len(there)} acknowledged, bad {bad}")
        rest = content(f"{path}/{name}")
        report(rest is None or len(rest) < size, "full disk: the refused file is not complete")
        for name in client.listdir(f"{REMOTE}/full"):
            client.remove(f"{REMOTE}/full/{name}")
        put(client, f"{REMOTE}/full/again", data[:3000000])
        report(content(f"{path}/again") == data[:3000000] and os.listdir(path) == ["again"],
               "full disk: room that was made can be used", str(os.listdir(path)))


def no_inodes():
    with mounted("inodes", "-t", "tmpfs", "-o", "nr_inodes=40", "tmpfs"), sftp() as client:
        n, error = 0, None
        while error is None and n < 60:
            error = error_of(put, client, f"{REMOTE}/inodes/{n}", b"x")
            n += error is None
        client.listdir(f"{REMOTE}/inodes")
        report(error is not None and n > 10, "no inodes: the client is told, the session lives", f"{n} files, {error!r}")


def read_only_disk():
    with mounted("read-only", "-t", "tmpfs", "tmpfs") as path, sftp() as client:
        at = f"{REMOTE}/read-only"
        put(client, at + "/a", b"abc")
        subprocess.run(["mount", "-o", "remount,ro", path], check=True)
        done = [what for what, f in {
            "put": lambda: put(client, at + "/b", b"abc"),
            "mkdir": lambda: client.mkdir(at + "/m"),
            "remove": lambda: client.remove(at + "/a"),
            "chmod": lambda: client.chmod(at + "/a", 0o600),
        }.items() if error_of(f) is None]
        with client.open(at + "/a") as f:
            report(not done and f.read() == b"abc", "read-only disk: changes are refused, reading works", f"not refused: {done}")


def power_cut():
    """What a power cut leaves is what had been flushed: a copy of the block device at an instant."""
    image = f"{os.environ['TMPDIR']}/power.img"
    left = image + ".left"
    with open(image, "wb") as f:
        f.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    with mounted("power", "-o", "loop", image):
        uploads = Uploads("power", sessions=3, fsync=True)
        time.sleep(3)
        sure = list(uploads.acknowledged)
        shutil.copyfile(image, left)
        uploads.stop()
    lost = []
    with mounted("left", "-o", "loop", left) as path:
        lost = [n for n in sure if content(f"{path}/{n}") != uploads.begun[n]]
    report(sure and not lost, "power cut: files that were fsynced are whole", f"{len(sure)} were, lost {lost[:3]}")


os.mkdir(DISK)
server.start()
try:
    kills(signal.SIGKILL, "SIGKILL")
    kills(signal.SIGTERM, "SIGTERM")
    kills_during_renames()
    cut_clients()
    if os.geteuid() == 0:
        full_disk()
        no_inodes()
        read_only_disk()
        power_cut()
    else:
        print("note: not root, so no disk is filled, made read-only or cut off")
finally:
    server.kill()
    shutil.rmtree(DISK, ignore_errors=True)
print(f"{passed}/{total} passed")
sys.exit(passed != total)
