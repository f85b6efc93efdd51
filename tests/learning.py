"""What a run learned: by the judge that its config names, row by row, over the run at step 0."""

import numpy as np

from ssljax import evaluate
from ssljax.evals import offered
from ssljax.evals.evaluator import gain


def better(job, state) -> tuple[float, float, str]:
    """-> mean gain over held-out rows, its standard error, and the name of what is gained.

    The gain is over the untrained model, or over what is trivial by definition if that is more.
    """
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
