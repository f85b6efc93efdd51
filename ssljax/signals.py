"""What a signal does to a training. No jax here: it is in place before anything else is imported.

SIGTERM, SIGINT (Ctrl-C), SIGHUP and SIGUSR1 end a run with exit code 75, and the same command goes
on. Between `hold` and `release`, in the loop and its saves, a signal is noted, and the loop ends
after its step and saves. At all other times nothing would be lost, so the process ends on the spot:
what it writes, it writes beside the old and renames. A signal that whoever started the process has
ignored (nohup) stays ignored.
"""

import os
import signal
import threading
from typing import Any

CODE = 75  # EX_TEMPFAIL of sysexits.h: not done, try again
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
caught: list[int] = []  # since `hold`
holding = False


def guard() -> dict[int, Any]:
    """From now on signals are ours; -> the handlers of before."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # Python gives signals to the main thread alone
    ours = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    return {one: signal.signal(one, handle) for one in ours}


def handle(number: int, _: Any) -> None:
    name = signal.Signals(number).name
    if not holding:
        say(f'stopped by {name}: the same command goes on')
        os._exit(CODE)
    caught.append(number)
    if len(caught) == 1:
        say(f'{name}: the run stops after this step and saves')
    else:
        say(f'{name}: the run is saving; kill -9 {os.getpid()} ends it without')


def say(text: str) -> None:
    os.write(2, f'\n{text}\n'.encode())  # print is not made to be interrupted by itself


def deaf() -> None:
    """All is done: there is nothing left to stop."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)


def hold() -> dict[int, Any]:
    """From now on signals are noted in `caught`."""
    global holding
    caught.clear()
    holding = True
    return guard()


def release(old: dict[int, Any], *, obeyed: bool) -> None:
    """Back to what `hold` found; a signal that was not obeyed meanwhile comes again."""
    global holding
    for one, handler in old.items():
        signal.signal(one, handler)
    holding = False
    if caught and not obeyed:
        signal.raise_signal(caught[0])
