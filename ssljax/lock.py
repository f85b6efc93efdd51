"""One writer for a workdir. No jax here."""

import contextlib
import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ssljax.names import Mistake

LOCK = 'lock'


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Nobody else writes in the workdir until the block, or the process, has ended in any way.

    It is an flock on `workdir/lock`, which the kernel takes from a process that dies. NFS, Lustre
    mounted with `flock`, and GPFS hold it between machines; where there is none, a line says so.
    """
    try:
        file = os.open(workdir / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        raise Mistake(f'workdir {workdir} is not writable') from None
    try:
        taken = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Mistake(refused(workdir)) from None
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            taken = False
            print(
                f'WARNING: no locks on the file system of {workdir} ({error.strerror}):'
                ' see to it yourself that one process alone trains there',
                file=sys.stderr,
            )
        if taken:
            now = time.strftime('%Y-%m-%d %H:%M:%S')
            os.ftruncate(file, 0)
            os.pwrite(
                file, f'pid {os.getpid()} on {socket.gethostname()} since {now}\n'.encode(), 0
            )
        yield
        if taken:
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def refused(workdir: Path) -> str:
    who = (workdir / LOCK).read_text().strip() or 'a process that has just started'
    return (
        f'workdir {workdir} belongs to {who}; wait until that ends, or stop it, or give another'
        ' workdir: only one may write there'
    )
