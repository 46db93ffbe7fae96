"""paramiko-codes.py KEY CODE: logs in with paramiko, by all ways it has."""

import os
import sys

import paramiko

key, code = sys.argv[1:]
password = os.environ["SFTP_PASS"]


def transport():
    t = paramiko.Transport((os.environ["HOST"], int(os.environ["PORT"])))
    t.start_client(timeout=20)
    return t


def answers(password, code):
    def handler(_title, _instruction, prompts):
        return [code if "code" in text else password for text, _echo in prompts]

    return handler


def refused(f):
    t = transport()
    try:
        f(t)
    except paramiko.AuthenticationException:
        return
    finally:
        t.close()
    raise SystemExit("was let in")


refused(lambda t: t.auth_password("paramiko", password, fallback=False))
refused(lambda t: t.auth_interactive("paramiko", answers(password, "12345")))
refused(lambda t: t.auth_interactive("paramiko", answers("wrong", code)))

# A key is partial success: the code is what is missing.
t = transport()
more = t.auth_publickey("paramiko", paramiko.Ed25519Key.from_private_key_file(key))
assert more == ["keyboard-interactive"], more
t.close()

t = transport()
t.auth_interactive("paramiko", answers(password, code))
assert t.is_authenticated()
sftp = paramiko.SFTPClient.from_transport(t)
sftp.listdir("/")
t.close()
