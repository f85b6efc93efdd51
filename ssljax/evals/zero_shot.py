"""Classes named by texts alone: the nearest prompt is the answer.

Radford et al. 2021, arXiv:2103.00020 (section 3.1.4: prompts of a class are averaged).
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.measures import percent, unit
from ssljax.evals.subject import Subject, answers, classes, part_of, pick, readout
from ssljax.evals.text_vectors import embedded
from ssljax.kinds import Count, Least, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = None,
    prompts: Annotated[Sequence[str], Least(1)] = ('a photo of a {}.',),
    names: Sequence[str] = (),
) -> Scores:
    """Percent of rows nearest, by cosine, to the mean of the prompts of their class.

    single_1, single_2, ...: with the first prompt alone, with the second; single_mean: the mean of
    these, and spread: the best of them less the worst.

    split, size: so many rows of this split; none: all.
    prompts: texts with {} for the name of a class.
    names: of the classes; none: the source's own.
    """
    ask, _ = (readout(subject, name, 'zero_shot') for name in ('embed', 'embed_text'))
    names = names or subject.source.class_names
    source = subject.source
    if source.tokens is None:
        raise Mistake(
            f'zero_shot needs data that know how to write texts as tokens; {source.name} do not'
        )
    if not prompts or not all('{}' in prompt for prompt in prompts):
        bad = [prompt for prompt in prompts if '{}' not in prompt]
        raise Mistake(f'zero_shot: prompts {bad} have no {{}} for a name; type "(\'a {{}}\',)"')
    part = part_of(source, split)
    z, rows = answers(ask, part, pick(part.count, size), keep=('label',))
    label = classes(subject, split, rows, 'zero_shot')
    if len(names) <= label.max():
        raise Mistake(
            f'zero_shot knows {len(names)} names of classes, and {source.name} has labels up to'
            f' {label.max()}: set names to one name for each class'
        )
    texts = source.tokens([prompt.format(name) for name in names for prompt in prompts])
    each = unit(embedded(subject, texts, 'zero_shot')).reshape(len(names), len(prompts), -1)
    s = unit(z) @ unit(each.mean(1)).T  # [N, K]
    top = np.argsort(-s, axis=1, kind='stable')[:, :5] == label[:, None]
    found = {'accuracy': percent(s.argmax(1) == label), 'accuracy_top5': percent(top.any(1))}
    alone = [percent((unit(z) @ each[:, i].T).argmax(1) == label) for i in range(len(prompts))]
    found |= {f'single_{i}': right for i, right in enumerate(alone, 1)}
    accuracies = [right.mean() for right in alone]
    return averaged(
        found | {'single_mean': np.mean(alone, 0)},
        spread=float(max(accuracies) - min(accuracies)),
        chance=100 / len(names),
        prompts=len(prompts),
        rows=len(label),
    )


evaluator = Evaluator(
    run=score,
    needs=('embed', 'embed_text'),
    shown={
        'accuracy': Shown('zero-shot accuracy'),
        'single_mean': Shown('zero-shot accuracy by one prompt, mean'),
    },
)
