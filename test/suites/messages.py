#!/usr/bin/python3
"""messages.py: what a server does about SSH messages that it does not expect, and about
a client that asks again, gives up a method half-way, or changes a password in the
"password" method. It takes the variables that lib.sh names. Each case prints
"ok   NAME" or "FAIL NAME: what happened"; the last line is "PASSED/TOTAL passed".

With --table it prints instead what happens in each case, for docs/messages.md."""
import os, queue, socket, sys
import paramiko
from paramiko.message import Message

HOST, PORT = os.environ["HOST"], int(os.environ["PORT"])
USER, PASSWORD = os.environ["SFTP_USER"], os.environ["SFTP_PASS"]


def key():
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(os.environ["SFTP_KEY"])
        except paramiko.SSHException:
            pass
    raise SystemExit("SFTP_KEY is of no kind that is known here")


class Ended(Exception):
    pass


class Failed(Exception):
    pass


class Client:
    """A connection whose messages are read here, once keys have been exchanged."""

    def __init__(self):
        t = self.t = paramiko.Transport(socket.create_connection((HOST, PORT), 10))
        self.queue = queue.Queue()
        read, exchanged = t.packetizer.read_message, False

        def read_message():
            nonlocal exchanged
            if not exchanged:
                number, m = read()
                exchanged = number == 21
                return number, m
            try:
                while True:
                    self.queue.put(read())
            except BaseException as e:
                self.queue.put(Ended(str(e) or type(e).__name__))
                raise

        t.packetizer.read_message = read_message
        t.start_client(timeout=15)

    def send(self, *parts):
        m = Message()
        m.add_byte(bytes([parts[0]]))
        for p in parts[1:]:
            if isinstance(p, bool):
                m.add_boolean(p)
            elif isinstance(p, int):
                m.add_int(p)
            else:
                m.add_string(p)
        try:
            self.t.packetizer.send_message(m)
        except (EOFError, OSError):
            raise Ended("closed")

    def read(self, timeout=10):
        """The next message but banners, EXT_INFO, host keys and debug: its number and the rest."""
        while True:
            try:
                got = self.queue.get(timeout=timeout)
            except queue.Empty:
                raise Ended("no answer")
            if isinstance(got, Ended):
                raise got
            number, m = got
            if number == 1:
                m.get_int()
                raise Ended("DISCONNECT: " + m.get_text())
            if number not in (2, 4, 7, 53, 80):
                return number, m

    def service(self):
        self.send(5, "ssh-userauth")
        number, _ = self.read()
        if number != 6:
            raise Ended("SERVICE_REQUEST answered with %d" % number)

    def request(self, method, *rest):
        self.send(50, USER, "ssh-connection", method, *rest)

    def password(self, password=PASSWORD):
        self.request("password", False, password)
        return self.read()[0]

    def logs_in(self):
        """Logs in with the password and opens a channel: the connection works."""
        if self.password() != 52:
            raise Ended("no login")
        self.channel()

    def channel(self):
        self.send(90, "session", 7, 1 << 20, 1 << 15)
        number, _ = self.read()
        if number != 91:
            raise Ended("CHANNEL_OPEN answered with %d" % number)

    def close(self):
        self.t.close()


def stray(number, after_login, *body):
    """Sends a message that nobody waits for; says whether it was answered, and goes on."""
    c = Client()
    try:
        c.service()
        if after_login and c.password() != 52:
            raise Ended("no login")
        c.send(number, *body)
        # What is asked next shows whether there was an answer before it.
        if after_login:
            c.send(80, "keepalive@example.org", True)
        else:
            c.request("none")
        answer, _ = c.read()
        said = "ignored"
        if answer == 3:
            said = "UNIMPLEMENTED"
            answer, _ = c.read()
        if answer not in (51, 81, 82):
            raise Ended("then %d" % answer)
        if after_login:
            c.channel()
        elif c.password() != 52:
            raise Ended("no login afterwards")
        return said
    finally:
        c.close()


def again():
    """A SERVICE_REQUEST before each try, as paramiko does."""
    c = Client()
    try:
        for _ in range(3):
            c.service()
            if c.password("wrong") != 51:
                raise Ended("a wrong password was not refused")
        c.service()
        c.logs_in()
        return "login"
    finally:
        c.close()


def twice():
    """Two methods on one connection, by paramiko itself."""
    t = paramiko.Transport(socket.create_connection((HOST, PORT), 10))
    try:
        t.start_client(timeout=15)
        for wrong in ("one", "two"):
            try:
                t.auth_password(USER, wrong, fallback=False)
                raise Ended("a wrong password was taken")
            except paramiko.AuthenticationException:
                pass
        try:
            t.auth_publickey(USER, paramiko.RSAKey.generate(2048))
            raise Ended("a wrong key was taken")
        except paramiko.AuthenticationException:
            pass
        t.auth_publickey(USER, key())
        paramiko.SFTPClient.from_transport(t).listdir(".")
        return "login"
    except (paramiko.SSHException, EOFError, OSError) as e:
        raise Ended(str(e) or type(e).__name__)
    finally:
        t.close()


def dialogue(then):
    """Leaves a dialogue at its question for another method."""
    c = Client()
    try:
        c.service()
        c.request("keyboard-interactive", "", "")
        number, _ = c.read()
        if number != 60:
            raise Ended("keyboard-interactive answered with %d" % number)
        if then == "service":
            c.service()
        elif then == "stray":
            c.send(75)
            if c.read()[0] != 3:
                raise Ended("75 was not answered with UNIMPLEMENTED")
        c.logs_in()
        return "login"
    finally:
        c.close()


def ticket():
    """Begins gssapi-with-mic and asks for the password instead, as PuTTY and JSch do
    without a ticket."""
    c = Client()
    try:
        c.service()
        c.request("gssapi-with-mic", 1, bytes.fromhex("06092a864886f712010202"))
        number, _ = c.read()
        if number == 51:
            return "not offered"
        if number != 60:
            raise Ended("gssapi-with-mic answered with %d" % number)
        c.logs_in()
        return "login"
    finally:
        c.close()


def unasked():
    """A request to change the password that was not asked for is refused."""
    c = Client()
    try:
        c.service()
        c.request("password", True, PASSWORD, "Another-1-password")
        if c.read()[0] != 51:
            raise Ended("not refused")
        if c.password() != 52:
            raise Ended("no login")
        return "refused"
    finally:
        c.close()


def memory():
    """The server's memory, in MiB."""
    with open("/proc/%s/status" % os.environ["SERVER_PID"]) as f:
        return int(f.read().split("VmRSS:")[1].split()[0]) >> 10


def flood(send, after_login, ends, count=5000):
    """Many messages: the server ends the connection or goes on, its memory is bounded,
    and others can log in. Messages that it must answer end a connection before the
    login; those that it ignores are bounded by the time for the login."""
    c = Client()
    try:
        c.service()
        if after_login:
            c.logs_in()
        before = memory()  # with the hash of the password, 19 MiB
        for _ in range(count):
            send(c)
        # Whoever gets an answer to this one has got all.
        c.send(80, "keepalive@example.org", True) if after_login else c.request("none")
        while c.read()[0] not in (51, 81, 82):
            pass
        if ends:
            raise Failed("%d messages were taken" % count)
        result = "taken"
    except (Ended, OSError, EOFError):
        result = "ended"
    finally:
        grown = memory() - before
        c.close()
        other = Client()
        other.service()
        other.logs_in()
        other.close()
    if grown > 32:
        raise Failed("the server has %d MiB more" % grown)
    return result


CASES = [
    ("SERVICE_REQUEST before each try", again),
    ("two passwords and two keys with paramiko", twice),
    ("keyboard-interactive given up for a password", lambda: dialogue("")),
    ("the same with a SERVICE_REQUEST between", lambda: dialogue("service")),
    ("an unknown message during keyboard-interactive", lambda: dialogue("stray")),
    ("gssapi-with-mic given up for a password", ticket),
    ("change of a password that was not asked for", unasked),
]
for n, body in ((3, (1,)), (7, (0,)), (30, ()), (31, ()), (49, ()), (61, (0,)), (66, ("",)), (75, ()), (79, ()), (82, ()), (99, (0,)), (192, ("",)), (255, ())):
    CASES.append(("message %d before the login" % n, lambda n=n, body=body: stray(n, False, *body)))
for n, body in ((3, (1,)), (5, ("ssh-userauth",)), (7, (0,)), (30, ()), (50, (USER, "ssh-connection", "none")), (51, ()), (61, (0,)), (75, ()), (83, ()), (99, (12345,)), (100, (12345,)), (101, ()), (200, ()), (255, ())):
    CASES.append(("message %d after the login" % n, lambda n=n, body=body: stray(n, True, *body)))
FLOODS = []
for name, send, answered in (
    ("unknown messages", lambda c: c.send(75), True),
    ("UNIMPLEMENTED", lambda c: c.send(3, 1), True),
    ("IGNORE with 30,000 bytes", lambda c: c.send(2, "x" * 30000), False),
    ("DEBUG", lambda c: c.send(4, True, "x" * 1000, ""), False),
    ("SERVICE_REQUEST", lambda c: c.send(5, "ssh-userauth"), True),
):
    for after in (False, True):
        FLOODS.append(("5,000 %s %s the login" % (name, "after" if after else "before"),
                       lambda send=send, after=after, ends=answered and not after: flood(send, after, ends)))
for name, send in (
    ("dialogues that are given up", lambda c: c.request("keyboard-interactive", "", "")),
    ("tickets that are given up", lambda c: c.request("gssapi-with-mic", 1, bytes.fromhex("06092a864886f712010202"))),
    ("offers of a key of no known kind", lambda c: c.request("publickey", False, "ssh-x", "x")),
):
    FLOODS.append(("5,000 " + name, lambda send=send: flood(send, False, True)))
for name, send in (
    ("requests to a channel that is not there", lambda c: c.send(98, 999, "exec", True)),
    ("answers that nobody waits for", lambda c: c.send(99, 7)),
):
    FLOODS.append(("5,000 " + name, lambda send=send: flood(send, True, False)))
FLOODS.append(("5,000 pieces of data for a channel that is not there", lambda: flood(lambda c: c.send(94, 999, "x"), True, True)))

if __name__ == "__main__":
    table = "--table" in sys.argv
    passed = 0
    cases = CASES + FLOODS
    for name, run in cases:
        try:
            result = run()
            passed += 1
            print("| %s | %s |" % (name, result) if table else "ok   " + name)
        except (Ended, Failed) as e:
            print("| %s | ends: %s |" % (name, e) if table else "FAIL %s: %s" % (name, e))
        sys.stdout.flush()
    if not table:
        print("%d/%d passed" % (passed, len(cases)))
        sys.exit(passed != len(cases))
