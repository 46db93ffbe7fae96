"""windows.py: messages of SSH itself that no honest client sends.

Channels with no window, windows that overflow or are overrun, channels that do
not exist or are closed, floods. The server may end the connection; another
session and new logins work, and memory stays bounded. The environment, and what
is printed, is as lib.sh has it.
"""

import contextlib
import logging
import os
import re
import socket
import struct
import sys
import time

import paramiko
from paramiko import common
from paramiko.message import Message

logging.getLogger("paramiko").setLevel(logging.CRITICAL)

HOST, PORT, USER = os.environ["HOST"], int(os.environ["PORT"]), os.environ["SFTP_USER"]
KEY = paramiko.Ed25519Key.from_private_key_file(os.environ["SFTP_KEY"])
REMOTE = os.environ["REMOTE_DIR"]
MEMORY = 64 << 20  # what a connection may cost the server, in bytes
INIT = struct.pack(">IBI", 5, 1, 3)


def memory():
    """Returns the bytes that the server has for itself."""
    with open(f"/proc/{os.environ['SERVER_PID']}/smaps_rollup") as f:
        return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M)[1]) << 10


@contextlib.contextmanager
def connection():
    transport = paramiko.Transport(socket.create_connection((HOST, PORT), 10))
    try:
        transport.connect(username=USER, pkey=KEY)
        yield transport
    finally:
        transport.close()


def message(kind, *fields):
    """Encodes numbers as uint32, bytes as string."""
    m = Message()
    m.add_byte(kind)
    for f in fields:
        m.add_string(f) if isinstance(f, bytes) else m.add_int(f)
    return m


def read_requests(n):
    """A greeting, and n requests that are each answered by a status."""
    request = struct.pack(">BI", 5, 7) + struct.pack(">I", 1) + b"h" + struct.pack(">QI", 0, 32768)
    return INIT + n * (struct.pack(">I", len(request)) + request)


def sftp_channel(transport, window=common.DEFAULT_WINDOW_SIZE):
    channel = transport.open_session(window_size=window, timeout=10)
    channel.settimeout(10)
    channel.invoke_subsystem("sftp")
    return channel


def send_many(transport, kind, *fields, times):
    """Sends a message again and again, until the server has had enough."""
    with contextlib.suppress(EOFError, OSError):
        for _ in range(times):
            if not transport.is_active():
                return
            transport._send_user_message(message(kind, *fields))


def no_window(transport):
    channel = sftp_channel(transport, window=0)
    channel.sendall(read_requests(10000))
    time.sleep(2)


def one_byte_windows(transport):
    channel = sftp_channel(transport, window=0)
    channel.sendall(INIT)
    for _ in range(9):  # as much as VERSION has at least
        transport._send_user_message(message(common.cMSG_CHANNEL_WINDOW_ADJUST, channel.remote_chanid, 1))
        assert len(channel.recv(1)) == 1


def window_overflow(transport):
    channel = sftp_channel(transport)
    send_many(transport, common.cMSG_CHANNEL_WINDOW_ADJUST, channel.remote_chanid, 0xFFFFFFFF, times=10)


def window_overrun(transport):
    # The channel is not read by the server while answers to it are not taken.
    channel = sftp_channel(transport, window=0)
    data = read_requests(1000)[:30000]
    send_many(transport, common.cMSG_CHANNEL_DATA, channel.remote_chanid, data, times=10000)


def large_data(transport):
    channel = sftp_channel(transport)
    send_many(transport, common.cMSG_CHANNEL_DATA, channel.remote_chanid, bytes(200000), times=20)


def foreign_channels(_):
    for kind, *fields in (
        (common.cMSG_CHANNEL_DATA, b"x"), (common.cMSG_CHANNEL_EXTENDED_DATA, 1, b"x"), (common.cMSG_CHANNEL_EOF,),
        (common.cMSG_CHANNEL_CLOSE,), (common.cMSG_CHANNEL_WINDOW_ADJUST, 1), (common.cMSG_CHANNEL_SUCCESS,),
    ):
        with connection() as other:
            send_many(other, kind, 4711, *fields, times=5)
            time.sleep(0.1)


def after_the_end(_):
    for end in (common.cMSG_CHANNEL_EOF, common.cMSG_CHANNEL_CLOSE):
        with connection() as other:
            channel = sftp_channel(other)
            number = channel.remote_chanid
            for kind, *fields in ((end,), (common.cMSG_CHANNEL_DATA, INIT), (end,), (common.cMSG_CHANNEL_WINDOW_ADJUST, 1)):
                send_many(other, kind, number, *fields, times=1)
            time.sleep(0.2)


def ignore_flood(transport):
    send_many(transport, common.cMSG_IGNORE, bytes(30000), times=3000)


def late_authentication(transport):
    m = Message()
    m.add_byte(common.cMSG_USERAUTH_REQUEST)
    for s in ("root", "ssh-connection", "none"):
        m.add_string(s)
    transport._send_user_message(m)
    time.sleep(0.2)


def new_keys(transport):
    for _ in range(10):
        transport.renegotiate_keys()
    assert transport.is_active()


ATTACKS = {
    "10,000 requests on a channel without a window": no_window,
    "a window of one byte after the other": one_byte_windows,
    "a window beyond 4 GiB": window_overflow,
    "data beyond the window": window_overrun,
    "data longer than a packet may be": large_data,
    "messages for channels that are not there": foreign_channels,
    "messages for channels that have ended": after_the_end,
    "a flood of messages to ignore": ignore_flood,
    "another login after the login": late_authentication,
    "new keys, ten times": new_keys,
}

passed = 0
with connection() as calm:
    bystander = paramiko.SFTPClient.from_transport(calm)
    bystander.get_channel().settimeout(10)
    for name, attack in ATTACKS.items():
        before, problem = memory(), ""
        try:
            with connection() as transport:
                try:
                    attack(transport)
                except (EOFError, OSError, paramiko.SSHException):
                    if transport.is_active():
                        raise  # it was not ended, so it should have worked
                grown = memory() - before
            if grown > MEMORY:
                problem = f"the server grew by {grown >> 20} MiB"
            bystander.stat(REMOTE)
            with connection() as again:
                paramiko.SFTPClient.from_transport(again).stat(REMOTE)
        except Exception as e:
            problem = repr(e)
        passed += not problem
        print(f"{'FAIL' if problem else 'ok  '} {name}")
        if problem:
            print("    ", problem)
print(f"{passed}/{len(ATTACKS)} passed")
sys.exit(passed != len(ATTACKS))
