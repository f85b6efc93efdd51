"""a is to b as c is to whom? The word nearest to b - a + c, of all words but these three.

Mikolov et al. 2013, arXiv:1301.3781 (section 4.1).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.evals.blocks import by_blocks, everywhere
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.measures import percent, unit
from ssljax.evals.subject import Subject
from ssljax.evals.word_vectors import lines, vectors, vocabulary
from ssljax.names import Mistake


def score(subject: Subject, *, path: str = '') -> Scores:
    """Percent of questions answered right, by cosine of vectors of length one.

    path: a file with a question a line, four words; lines that begin with ':' name a section, and
    those of a name with 'gram' are syntactic, the others semantic. Questions with a word that the
    vocabulary lacks are left out, and `covered` is the share of the others, in percent.
    """
    known, kind = vocabulary(subject, 'analogies'), 'semantic'
    questions, kinds, total = [], [], 0
    for line in lines(path, 'analogies'):
        if line.startswith(':'):
            kind = 'syntactic' if 'gram' in line else 'semantic'
            continue
        words = line.lower().split()
        if len(words) != 4:
            raise Mistake(f'analogies: {path} has a line that is not four words: {line[:60]!r}')
        total += 1
        if all(word in known for word in words):
            questions.append([known[word] for word in words])
            kinds.append(kind)
    if not questions:
        raise Mistake(
            f'analogies: none of {total} questions of {path} is in the vocabulary of'
            f' {subject.source.name} ({len(known)} words)'
        )
    asked, sections = np.array(questions, np.int32), np.array(kinds)
    table = everywhere(unit(vectors(subject, 'analogies')))
    (answered,) = by_blocks(partial(answer, table), asked, 2**23 // table.shape[0] + 1)
    right = percent(answered == asked[:, 3])
    parts = {
        f'accuracy_{kind}': right[chosen]
        for kind in ('semantic', 'syntactic')
        if (chosen := sections == kind).any()
    }
    return averaged(
        {'accuracy': right, **parts}, covered=100 * len(asked) / total, questions=len(asked)
    )


@jax.jit
def answer(table, asked):
    a, b, c = (table[asked[:, i]] for i in range(3))
    s = jnp.matmul(b - a + c, table.T, precision='highest')  # [q, V]
    rows = jnp.arange(len(asked))[:, None]
    return (s.at[rows, asked[:, :3]].set(-jnp.inf).argmax(1),)


evaluator = Evaluator(
    run=score, needs=('vectors',), shown={'accuracy': Shown('analogies, accuracy')}
)
