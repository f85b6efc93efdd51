"""One process or many: who they are, who writes, and what all of them must agree on."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.names import Mistake

VARIABLES = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')


def start() -> None:
    """Joins the other processes of this run, before JAX is used otherwise.

    The three VARIABLES say which they are; else what JAX detects (Slurm, Open MPI, Cloud TPU,
    Kubernetes); else there is this process alone.
    """
    if jax.distributed.is_initialized():
        return
    given = [os.environ.get(name) for name in VARIABLES]
    if any(given) and not all(given):
        absent = ', '.join(n for n, value in zip(VARIABLES, given) if not value)
        raise Mistake(f'of {", ".join(VARIABLES)} there is no {absent}; set all three, or none')
    jax.config.update('jax_enable_preemption_service', False)  # it would swallow SIGTERM
    if all(given):
        address, count, index = given
        if not (count.isdigit() and index.isdigit() and int(index) < int(count)):
            raise Mistake(f'JAX_PROCESS_ID={index} of JAX_NUM_PROCESSES={count}; type 0 to N - 1')
        jax.distributed.initialize(address, int(count), int(index))
    elif detected():
        jax.distributed.initialize()
    if several():
        meet()


def meet() -> None:
    """A sum over all devices, before any process is busy: on CPUs, processes wait no more than 30 s
    for each other at their first exchange, and a program may take longer to compile on one."""
    devices = jax.devices()
    mesh = jax.sharding.Mesh(np.array(devices), ('all',))
    cut, whole = (NamedSharding(mesh, P(*axes)) for axes in (('all',), ()))
    ones = jax.make_array_from_callback((len(devices),), cut, lambda _: np.ones(1, np.float32))
    jax.block_until_ready(jax.jit(lambda x: x.sum(), out_shardings=whole)(ones))


def detected() -> bool:
    """Whether JAX finds a cluster with more than one process around this one."""
    from jax._src.clusters import ClusterEnv  # there is no public way to ask

    kinds = [kind for kind in ClusterEnv._cluster_types if not kind.opt_in_only_method]
    around = next((kind for kind in kinds if kind.is_env_present()), None)
    return around is not None and around.get_process_count() > 1


def several() -> bool:
    return jax.process_count() > 1


def first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def wait(name: str) -> None:
    """Until all processes are here."""
    if several():
        multihost_utils.sync_global_devices(name)


def of_first(number: int) -> int:
    """The number that process 0 has, on all."""
    return int(multihost_utils.broadcast_one_to_all(np.int32(number))) if several() else number


def any_of(flag: bool) -> bool:
    """Whether the flag is up on any process; all ask at the same step."""
    if not several():
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def together(main: Callable[[], int]) -> Callable[[], int]:
    """A program of many processes that ends with the first of them that fails.

    Else the others would wait for it in their next collective, or at the end, for five minutes.
    """

    def run() -> int:
        try:
            return main()
        except BaseException as error:
            if not jax.distributed.is_initialized() or not several():
                raise
            known = isinstance(error, Mistake)
            code = error.code if known else 1
            try:  # whoever read what is written may be gone, too
                print(f'error: {error}' if known else traceback.format_exc(), file=sys.stderr)
                sys.stdout.flush(), sys.stderr.flush()
                part()
            finally:
                os._exit(code)

    return run


def part() -> None:
    """Leaves the others in order if all have failed, as with a mistake that each of them finds.

    Where process 0 is gone before the others have left, JAX aborts them. A process that fails alone
    waits in vain, and takes the others down by its end.
    """
    from jax._src.distributed import global_state  # no public barrier has a time limit

    try:
        global_state.client.wait_at_barrier('all processes have failed', timeout_in_ms=20_000)
    except jax.errors.JaxRuntimeError:
        return
    jax.distributed.shutdown()


def told(value: Any) -> None:
    """Prints, in the process that writes."""
    if first():
        print(value, flush=True)
