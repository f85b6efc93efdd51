"""Classes named by texts alone: the nearest prompt is the answer.

Radford et al. 2021, arXiv:2103.00020 (section 3.1.4: prompts of a class are averaged).
"""

from collections.abc import Sequence

import numpy as np

from ssljax.evals.cross_retrieval import embedded
from ssljax.evals.subject import Subject, accuracy, answers, classes, pick, readout, split, unit
from ssljax.names import Mistake

NEEDS = ('embed', 'embed_text')
BASELINES = ()
SHOWN = ('accuracy',)  # what a table shows, where it is there


def zero_shot(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = None,
    prompts: Sequence[str] = ('a photo of a {}.',),
    names: Sequence[str] = (),
) -> dict[str, float]:
    """Percent of rows nearest, by cosine, to the mean of the prompts of their class.

    prompts: texts with {} for the name of a class. names: of the classes, if not the source's own.
    """
    return score(subject, split, size, prompts, names or subject.source.class_names)


def score(subject, name, size, prompts, names):
    ask, _ = (readout(subject, name, 'zero_shot') for name in NEEDS)
    source = subject.source
    if source.tokens is None:
        raise Mistake(
            f'zero_shot needs data that know how to write texts as tokens; {source.name} do not'
        )
    if bad := [prompt for prompt in prompts if '{}' not in prompt] or not prompts:
        raise Mistake(f'zero_shot: prompts {bad} have no {{}} for a name; type "(\'a {{}}\',)"')
    part = split(source, name)
    z, rows = answers(ask, part, pick(part.count, size), keep=('label',))
    label = classes(subject, name, rows, 'zero_shot')
    if len(names) <= label.max():
        raise Mistake(
            f'zero_shot knows {len(names)} names of classes, and {source.name} has labels up to'
            f' {label.max()}: set names to one name for each class'
        )
    texts = source.tokens([prompt.format(name) for name in names for prompt in prompts])
    each = unit(embedded(subject, texts, 'zero_shot')).reshape(len(names), len(prompts), -1)
    s = unit(z) @ unit(each.mean(1)).T  # [N, K]
    percent, error = accuracy(s.argmax(1), label)
    top = np.argsort(-s, axis=1, kind='stable')[:, :5] == label[:, None]
    return {
        'accuracy': percent,
        'standard_error': error,
        'accuracy_top5': 100 * float(top.any(1).mean()),
        'chance': 100 / len(names),
        'prompts': len(prompts),
        'rows': len(label),
    }
