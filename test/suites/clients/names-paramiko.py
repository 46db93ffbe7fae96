"""names-paramiko.py REMOTE KEY NAME...: makes, lists, renames and removes names."""

import os
import sys

import paramiko

remote, key, *names = sys.argv[1:]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect(os.environ["HOST"], int(os.environ["PORT"]), os.environ["SFTP_USER"],
               key_filename=key, allow_agent=False, look_for_keys=False)
sftp = client.open_sftp()
sftp.chdir(remote)
sftp.mkdir("names")
sftp.chdir("names")

for name in names:
    with sftp.open(name, "w") as f:
        f.write(name)
assert sorted(sftp.listdir(".")) == sorted(names), sftp.listdir(".")
for name in names:
    with sftp.open(name) as f:
        assert f.read().decode() == name
    sftp.rename(name, name[1:] + "x")
    sftp.symlink(name[1:] + "x", name)
    assert sftp.readlink(name) == name[1:] + "x"
    sftp.remove(name)
    sftp.remove(name[1:] + "x")
assert sftp.listdir(".") == []
client.close()
