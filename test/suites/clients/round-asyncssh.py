"""round-asyncssh.py SOURCE REMOTE OUT KEY: a round with asyncssh."""

import asyncio
import os
import sys

import asyncssh

source, remote, out, key = sys.argv[1:]


def connect(**credentials):
    return asyncssh.connect(
        os.environ["HOST"], int(os.environ["PORT"]), username=os.environ["SFTP_USER"],
        known_hosts=None, agent_path=None, **credentials)


async def with_sftp(sftp):
    await sftp.chdir(remote)
    await sftp.put([f"{source}/{n}" for n in ("zero", "one", "mid", "big")], remote, preserve=True)
    await sftp.get("big", f"{out}/big")
    await sftp.put(f"{source}/tree", remote + "/tree", recurse=True)
    assert sorted(await sftp.glob("tree/a/f*")) == ["tree/a/f1", "tree/a/f2", "tree/a/f3"]

    async with sftp.open("edit", "w") as f:
        await f.write("abc")
    async with sftp.open("edit", "a") as f:
        await f.write("def")
    async with sftp.open("edit") as f:
        assert await f.read() == "abcdef"

    await sftp.symlink("edit", remote + "/link")  # the name of a link is not taken as relative to chdir, the target is
    assert await sftp.readlink("link") == remote + "/edit"
    await sftp.remove("link")
    await sftp.mkdir("dir")
    await sftp.rename("edit", "dir/edit")
    assert await sftp.isfile("dir/edit")
    assert not await sftp.exists("nope")
    await sftp.truncate("dir/edit", 2)
    assert await sftp.getsize("dir/edit") == 2
    await sftp.makedirs("tree/a/new/x")  # over what exists
    await sftp.makedirs(remote + "/tree/a/new/y", exist_ok=True)
    await sftp.makedirs(remote + "/tree/a", exist_ok=True)
    assert sorted(await sftp.listdir("tree/a/new")) == [".", "..", "x", "y"]
    await sftp.makedirs("/virtual/folder/made/here")  # over the way to a folder
    await sftp.makedirs("/virtual/folder", exist_ok=True)
    await sftp.rmtree("/virtual/folder/made")
    for taken in ("/virtual", "/virtual/folder", remote + "/tree", remote + "/big"):
        try:
            await sftp.makedirs(taken)
            raise SystemExit("makedirs of " + taken + ": no error")
        except asyncssh.SFTPFailure:
            pass
    await sftp.rmtree("tree")
    await sftp.rmtree("dir")


async def with_scp(connection):
    await asyncssh.scp(f"{source}/mid", (connection, remote + "/by-scp"))
    await asyncssh.scp((connection, remote + "/by-scp"), out + "/by-scp")
    with open(f"{source}/mid", "rb") as a, open(out + "/by-scp", "rb") as b:
        assert a.read() == b.read()


async def main():
    async with connect(client_keys=[key]) as connection:
        async with connection.start_sftp_client() as sftp:
            await with_sftp(sftp)
        await with_scp(connection)
    async with connect(client_keys=None, password=os.environ["SFTP_PASS"]) as connection:
        async with connection.start_sftp_client() as sftp:
            await sftp.stat(remote)


asyncio.run(main())
