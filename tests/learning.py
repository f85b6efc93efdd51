"""What a run learned: by the judge that its config names, row by row, over the run at step 0.

    python tests/learning.py simclr [--seeds=10]

prints the gain of each seed by that of which the suite asks: a method's `:learn` config is right
when the least of ten is 2 or more, so that no processor's rounding decides.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

STANDARD_ERRORS = 3  # that a gain must be above


def better(job, state) -> tuple[float, float, str]:
    """-> mean gain over held-out rows, its standard error, and the name of what is gained.

    The gain is over the untrained model, or over what is trivial by definition if that is more.
    """
    from ssljax import evaluate
    from ssljax.evals import offered
    from ssljax.evals.evaluator import gain

    name, _, number = job.config['judge'].partition('.')
    evaluator, options = offered()[name], job.config['evals'][name]
    models = job.model.at(state), job.untrained()
    trained, untrained = (
        evaluator.run(evaluate.subject(model, job.source, 'judged'), **options).rows[number]
        for model in models
    )
    shown = evaluator.shown[number]
    if shown.trivial is not None:
        least = np.full_like(untrained, shown.trivial)
        untrained = max(untrained, least, key=lambda rows: rows.mean() * (-1 if shown.less else 1))
    mean, error = gain(trained, untrained, evaluator.neighbors, shown.less)
    return mean, error, f'{name} {number}'


def main() -> None:
    import jobs

    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('method', choices=jobs.METHODS)
    parser.add_argument('--seeds', type=int, default=10)
    given, rest = parser.parse_known_args()
    changes = dict(one.removeprefix('--config.').split('=', 1) for one in rest)
    margins = []
    for seed in range(given.seeds):
        began = time.perf_counter()
        job = jobs.job(given.method, 'learn', **changes, seed=seed)
        state, _ = jobs.run(job, job.config['steps'])
        trained = time.perf_counter() - began
        gain, error, what = better(job, state)
        margins.append(gain / error / STANDARD_ERRORS)
        spent = f'{trained:.0f} + {time.perf_counter() - began - trained:.0f} s'
        told = f'seed {seed}: {what} better by {gain:.4f} +- {error:.4f}'
        print(f'{given.method} {told}, {margins[-1]:.1f} times enough ({spent})', flush=True)
    print(f'{given.method}: the least of {given.seeds} is {min(margins):.1f}')


if __name__ == '__main__':
    sys.path[:0] = [str(Path(__file__).parents[1])]
    main()
