"""Evaluators: functions (subject, *, options) -> numbers, the same for trained and baselines.

Each module says which readouts it NEEDS and which trivial BASELINES belong beside its number.
"""

import sys
from collections.abc import Callable, Iterable, Mapping

import jax

from ssljax.data.source import Source
from ssljax.evals.analogies import analogies
from ssljax.evals.attention import attention
from ssljax.evals.cluster import cluster
from ssljax.evals.cross_retrieval import cross_retrieval
from ssljax.evals.density import density
from ssljax.evals.error_rate import error_rate
from ssljax.evals.evidence import evidence
from ssljax.evals.few_shot import few_shot
from ssljax.evals.fine_tune import fine_tune
from ssljax.evals.kmeans import kmeans
from ssljax.evals.knn import knn
from ssljax.evals.linear_probe import linear_probe
from ssljax.evals.linear_svm import linear_svm
from ssljax.evals.mlp_probe import mlp_probe
from ssljax.evals.reconstruction import reconstruction
from ssljax.evals.retrieval import retrieval
from ssljax.evals.samples import samples
from ssljax.evals.segmentation import segmentation
from ssljax.evals.sgd_probe import sgd_probe
from ssljax.evals.subject import Model as Model
from ssljax.evals.subject import Subject as Subject
from ssljax.evals.transcription import transcription
from ssljax.evals.word_similarity import word_similarity
from ssljax.evals.zero_shot import zero_shot
from ssljax.names import choose

__all__ = [
    'analogies', 'attention', 'cluster', 'cross_retrieval', 'density', 'error_rate',
    'evidence', 'few_shot', 'fine_tune', 'kmeans', 'knn', 'linear_probe', 'linear_svm',
    'mlp_probe', 'reconstruction', 'retrieval', 'samples', 'segmentation', 'sgd_probe',
    'transcription', 'word_similarity', 'zero_shot',
]  # fmt: skip


def module(name: str):
    """The module of the evaluator `name`."""
    return sys.modules[f'{__name__}.{choose(name, __all__, "evaluator")}']


def explain(name: str, readouts: Iterable[str]) -> str:
    """Why the evaluator cannot run on a method with these readouts, in one line; '' if it can."""
    lacking = ', '.join(need for need in module(name).NEEDS if need not in readouts)
    offers = ', '.join(sorted(readouts)) or 'none'
    return lacking and f'{name} needs the readout {lacking}; this method offers: {offers}'


def trivial(name: str, source: Source, key: jax.Array) -> dict[str, Mapping[str, Callable]]:
    """The evaluator's trivial baselines that this source admits: name -> readouts."""
    found = {f.__name__: f(source, key) for f in module(name).BASELINES}
    return {name: readouts for name, readouts in found.items() if readouts}
