"""From a config to a job: what reaches the step, and what a method is told of its data."""

import re

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from ssljax.job import divides, facts, settled
from ssljax.method import Method, State, Turn
from ssljax.names import Mistake


def test_facts_of_a_run_whose_rows_are_no_whole_number_of_batches():
    job = jobs.job('simclr', **{'data.train': 70, 'batch': 16})
    told = facts(job.config, job.source)
    assert (told.examples, told.steps_per_epoch, told.batch) == (70, 4, 16)
    assert told.steps == job.config['steps'] and told.classes == 34


def test_accumulate_reaches_the_step():
    """Gradients of micro-batches are summed: each has calls of the nets of its own."""

    def products(job):
        rows, key = jobs.batch(job, 0), job.key(1)
        return str(job.step().trace(job.shapes, rows, key, ('net',)).jaxpr).count('dot_general')

    one, two = (products(jobs.job('simclr', accumulate=n)) for n in (1, 2))
    assert two == 2 * one


def test_statistics_settle_on_draws_of_a_key_for_each_batch():
    def loss(key, state, batch):
        old = state.memory['stats']['batch_stats']
        return 0.0, {'stats': {'batch_stats': 2 * old + jax.random.uniform(key)}}, {}

    method = Method(None, {'net': Turn(loss)})
    start = State(jnp.int32(0), {}, {'stats': {'batch_stats': jnp.zeros(())}}, {})
    batches = [(i, {'x': jnp.zeros((2, 1))}) for i in range(3)]
    state = settled(method, jax.random.key(0), start, batches)
    draws = [jax.random.uniform(jax.random.fold_in(jax.random.key(0), i)) for i in range(3)]
    expected = 4 * draws[0] + 2 * draws[1] + draws[2]
    np.testing.assert_allclose(state.memory['stats']['batch_stats'], expected, rtol=1e-6)


@pytest.mark.parametrize('batch, accumulate, cuts', [(20, 1, 8), (20, 2, 8), (3, 2, 4)])
def test_a_batch_that_does_not_divide_is_told_batches_that_do(batch, accumulate, cuts):
    with pytest.raises(Mistake) as mistake:
        divides(batch, accumulate, cuts)
    offered = re.findall(r'\d+', str(mistake.value).partition('nearest that are')[2])
    assert offered and all(int(n) % (accumulate * cuts) == 0 for n in offered)
    divides(int(offered[0]), accumulate, cuts)
