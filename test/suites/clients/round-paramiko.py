"""round-paramiko.py SOURCE REMOTE OUT KEY: a round with Debian's paramiko."""

import hashlib
import os
import stat
import sys

import paramiko

source, remote, out, key = sys.argv[1:]
host, port = os.environ["HOST"], int(os.environ["PORT"])
user, password = os.environ["SFTP_USER"], os.environ["SFTP_PASS"]


def refused(what, error, f, *args):
    try:
        f(*args)
    except error:
        return
    raise SystemExit(what + ": no error")


client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect(host, port, user, key_filename=key, allow_agent=False, look_for_keys=False)
sftp = client.open_sftp()
sftp.chdir(remote)

for name in ("zero", "one", "mid", "big"):
    sftp.put(f"{source}/{name}", name)
sftp.get("big", f"{out}/big")
assert "big" in sftp.listdir(".")

with sftp.open("big") as f, open(f"{source}/big", "rb") as local:
    data = local.read()
    parts = list(f.readv([(0, 10), (1000000, 70000), (4999990, 10)]))
    assert parts == [data[:10], data[1000000:1070000], data[-10:]]

# Hashes made by the server: of all, and of blocks of a part.
with sftp.open("big") as f:
    assert f.check("sha256") == hashlib.sha256(data).digest()
    blocks = [hashlib.md5(data[7 + at:][:min(300000, 1000000 - at)]).digest() for at in range(0, 1000000, 300000)]
    assert f.check("md5", 7, 1000000, 300000) == b"".join(blocks)
    refused("an unknown hash", IOError, f.check, "crc32")

with sftp.open("edit", "w") as f:
    f.write("abc")
with sftp.open("edit", "a") as f:
    f.write("def")
with sftp.open("edit") as f:
    assert f.read() == b"abcdef"
with sftp.open("edit", "r+") as f:
    f.seek(2)
    f.write("XX")
    f.truncate(5)
with sftp.open("edit") as f:
    assert f.read() == b"abXXe"
refused("open to create what is there", IOError, sftp.open, "edit", "x")

sftp.chmod("edit", 0o640)
sftp.utime("edit", (1000000000, 1000000001))
attributes = sftp.stat("edit")
assert stat.S_IMODE(attributes.st_mode) == 0o640, attributes
assert attributes.st_mtime == 1000000001, attributes

sftp.mkdir("dir", 0o750)
assert stat.S_IMODE(sftp.stat("dir").st_mode) == 0o750
sftp.rename("edit", "dir/edit")
sftp.posix_rename("dir/edit", "edit2")
sftp.symlink("edit2", "link")
assert sftp.readlink("link") == "edit2"
assert stat.S_ISLNK(sftp.lstat("link").st_mode)
sftp.mkdir("dir/sub")
sftp.symlink("dir/sub", "way")
assert sftp.normalize("way") == sftp.normalize(".") + "/dir/sub"
sftp.chdir("way")
assert sftp.getcwd() == sftp.normalize("../../dir/sub") and sftp.listdir("..") == ["sub"]
sftp.chdir("../..")
refused("a way over what is missing", FileNotFoundError, sftp.stat, "nope/../edit2")
sftp.remove("way")
sftp.rmdir("dir/sub")
refused("stat of what is missing", FileNotFoundError, sftp.stat, "nope")
sftp.remove("link")
sftp.remove("edit2")
sftp.rmdir("dir")

for _ in range(5):
    client.open_sftp().listdir(remote)
for _ in range(35):
    sftp.listdir(remote)
client.close()

client.connect(host, port, user, password, allow_agent=False, look_for_keys=False)
client.open_sftp().stat(remote)
client.close()
refused("wrong password", paramiko.AuthenticationException, lambda: client.connect(
    host, port, user, "wrong-" + password, allow_agent=False, look_for_keys=False))
