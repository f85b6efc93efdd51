"""What a run learned: a gain per held-out row over the same run at step 0."""

import numpy as np

from ssljax import evaluate
from ssljax.evals.knn import classify
from ssljax.evals.subject import pick

ROWS = 1000


def better(job, state) -> tuple[float, float, str]:
    """-> mean gain, its standard error, and the name of what is gained."""
    before = evaluate.settled(job, job.fresh())
    test = job.source.splits['test']
    rows = test.rows(pick(test.count, ROWS))
    readouts, sweep = job.method.readouts, job.sweep()
    if 'log_prob' in readouts:
        what, score = 'log-likelihood of a row', likelihood
    elif 'reconstruct' in readouts:
        what, score = 'error of the hidden pixels of a row', painting
    elif 'encode' in readouts:
        what, score = 'k-NN correctness of a row', neighbors
    else:
        what, score = 'energy score of a row', energy
    gains = score(job, sweep, state, rows) - score(job, sweep, before, rows)
    assert gains.shape == (len(rows['x']),), gains.shape
    return gains.mean(), gains.std(ddof=1) / np.sqrt(len(gains)), what


def likelihood(job, sweep, state, rows):
    found = sweep.over(job.method.readouts['log_prob'], state, rows)
    return found.reshape(len(found), -1).sum(1)


def painting(job, sweep, state, rows):
    """(Minus) the error over hidden patches. A net that says nothing paints their means, so what
    counts at step 0 is the better of the two."""
    found = sweep.over(job.method.readouts['reconstruct'], state, rows)
    x = rows['x'] / 127.5 - 1
    error, blank = (
        ((found[name] - x) ** 2).mean((1, 2, 3)) for name in ('reconstruction', 'means')
    )
    return -error if int(state.step) else -np.minimum(error, blank)


def neighbors(job, sweep, state, rows):
    encode = job.method.readouts['encode']
    bank = job.train.rows(pick(job.train.count, 4000))
    h, q = (sweep.over(encode, state, part).reshape(len(part['x']), -1) for part in (bank, rows))
    found, _ = classify(h, bank['label'], q, [(20, 0.07)])
    return (found[0] == rows['label']).astype(float)


def energy(job, sweep, state, rows):
    """The (negative) energy score of each row under the samples, a strictly proper score: a
    collapsed sampler pays for its missing spread. Gneiting & Raftery 2007, section 4.3."""
    fakes = sweep.over(job.method.readouts['sample'], state, rows)
    fakes = fakes.reshape(len(fakes), -1).astype(float)
    x = rows['x'].reshape(len(fakes), -1) / 127.5 - 1
    far = lambda a, b: np.sqrt(  # noqa: E731
        np.maximum((a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1), 0)
    )
    n = len(fakes)
    return 0.5 * far(fakes, fakes).sum() / (n * (n - 1)) - far(x, fakes).mean(1)
