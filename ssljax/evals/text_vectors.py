"""Vectors of texts in the space that they share with images: what zero_shot and cross_retrieval
share."""

from collections.abc import Mapping

import numpy as np

from ssljax.data.source import Split
from ssljax.evals.subject import Subject, answers, readout


def embedded(subject: Subject, texts: Mapping[str, np.ndarray], who: str) -> np.ndarray:
    """z [N, D] of `text` [N, T] (and `text_length` [N])."""
    count = len(texts['text'])
    part = Split(count, lambda i: {name: values[i] for name, values in texts.items()})
    return answers(readout(subject, 'embed_text', who), part, np.arange(count))[0]
