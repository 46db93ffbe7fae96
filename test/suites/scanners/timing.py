"""timing.py: fails if a user who exists can be told by how long a refusal takes."""

import logging
import os
import statistics
import time

import paramiko

logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def refusal(user):
    """Returns how many seconds a wrong password takes."""
    transport = paramiko.Transport((os.environ["HOST"], int(os.environ["PORT"])))
    transport.start_client(timeout=10)
    begin = time.monotonic()
    try:
        transport.auth_password(user, "definitely-wrong")
    except paramiko.AuthenticationException:
        return time.monotonic() - begin
    finally:
        transport.close()
    raise SystemExit("a wrong password was accepted")


known, unknown = [], []
for i in range(8):
    known.append(refusal(os.environ["SFTP_USER"]))
    unknown.append(refusal(f"no-such-user-{i}"))
a, b = statistics.median(known), statistics.median(unknown)
print(f"median: known {a:.3f} s, unknown {b:.3f} s")
raise SystemExit(max(a, b) > 2 * min(a, b) + 0.05)
