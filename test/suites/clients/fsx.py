"""fsx.py FILE TWIN: random operations on FILE, and on TWIN, which is on a disk that is sure.

Both must hold the same at any time. FILE is opened again and again.
"""

import os
import random
import sys

r = random.Random(3)
LIMIT = 300000


def differ(what, got, want):
    if got != want:
        raise SystemExit(f"operation {n}: {what}: {got!r:.60}, want {want!r:.60}")


def write(files):
    at, data = r.randrange(LIMIT), r.randbytes(r.randrange(1, 70000))
    for f in files:
        os.pwrite(f, data, at)


def read(files):
    at, size = r.randrange(LIMIT), r.randrange(1, 100000)
    differ(f"read {size} at {at}", *(os.pread(f, size, at) for f in files))


def truncate(files):
    size = r.randrange(LIMIT)
    for f in files:
        os.ftruncate(f, size)


def size(files):
    differ("size", *(os.fstat(f).st_size for f in files))


def sync(files):
    for f in files:
        os.fsync(f)


def append(_):
    data = r.randbytes(r.randrange(1, 5000))
    for name in sys.argv[1:]:
        with open(name, "ab") as f:
            f.write(data)


n = 0
while n < 1500:
    files = [os.open(name, os.O_RDWR | os.O_CREAT) for name in sys.argv[1:]]
    for _ in range(r.randrange(1, 100)):
        n += 1
        r.choice([write, read, read, truncate, size, sync, append])(files)
    for f in files:
        os.close(f)
    contents = []
    for name in sys.argv[1:]:
        with open(name, "rb") as f:
            contents.append(f.read())
    differ("content", *contents)
