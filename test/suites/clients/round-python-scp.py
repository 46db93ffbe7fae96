"""round-python-scp.py SOURCE REMOTE OUT KEY: a round with the module scp, on paramiko."""

import filecmp
import os
import sys

import paramiko
import scp

source, remote, out, key = sys.argv[1:]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect(os.environ["HOST"], int(os.environ["PORT"]), os.environ["SFTP_USER"],
               key_filename=key, allow_agent=False, look_for_keys=False)
with scp.SCPClient(client.get_transport()) as s:
    s.put([f"{source}/{n}" for n in ("zero", "one", "mid", "big")], remote)
    s.put(f"{source}/tree", remote, recursive=True, preserve_times=True)
    s.get(remote + "/big", out, preserve_times=True)
    s.get(remote + "/tree", out, recursive=True, preserve_times=True)
assert filecmp.cmp(f"{source}/tree/a/b/g1", f"{out}/tree/a/b/g1", shallow=False)
client.close()
