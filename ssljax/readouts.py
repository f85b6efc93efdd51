"""What readouts mean: one meaning each, the shape of a row's answer, and whether they draw.

log_prob, bound and log_weights are nats of a whole row, a sum over its entries. A readout sees
bytes v as x = v / 127.5 - 1. For images of bytes the measure is the mass P of the 8-bit image,
which sums to 1 over all images; for a source of floats, it is the density of x. A density of bytes
therefore needs noise of one level and the log volume of a level: with y = dequantize(key,
round(127.5 (x + 1))) in [0, 1) and D entries, log p(y) - D log 256 is a `bound`. Black and white is
x = -1 or 1, and its mass is that of D bits. docs/concepts.md has more. -free_energy - log Z is such
a log p.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Readout(NamedTuple):
    """What a readout of this name answers for each row of a batch."""

    means: str
    # of a row: numbers, letters for sizes that the method chooses, 'x' for the shape of a row of
    # the data, 'T' for its first axis, 'T-1', '...' for any axes; an option's name for its value
    row: tuple[Any, ...]
    draws: bool = False  # whether it uses its key: if not, a row's answer depends on that row alone
    whole: bool = False  # whether it answers with whole numbers
    named: bool = False  # whether it answers with a dict of such arrays, by name
    options: Mapping[str, Any] = {}  # keyword-only options that every such readout has


READOUTS = {
    'encode': Readout('features', ('...',)),
    'embed': Readout('the vector that is compared with those of texts', ('D',)),
    'embed_text': Readout('the vector of `text`, compared with those of `embed`', ('D',)),
    'vectors': Readout('a vector for each token of x', ('T', 'D')),
    'log_prob': Readout('log p of the row, exact, in nats (of bytes: their mass)', ()),
    'token_log_prob': Readout('log probability of each token after the first', ('T-1',)),
    'bound': Readout('a lower bound on log p of the row, in nats', (), True),
    'log_weights': Readout(
        'log p(x, z) - log q(z | x) of so many z', ('samples',), True, options={'samples': 2}
    ),
    'free_energy': Readout('-log of p of the row up to a factor: Z, the same for all rows', ()),
    'log_z_weights': Readout(
        'log weight of a run, whatever the row: the mean of their exp is on average Z, the factor'
        ' of free_energy',
        (),
        True,
        options={'steps': 2},
    ),
    'reconstruct': Readout(
        'pictures of the shape of x by name: `reconstruction`, where patches were hidden `mask`'
        ' [B, patches] and `means`, others as one likes',
        ('...',),
        True,
        named=True,
    ),
    'decode': Readout(
        'what a code stands for, of the shape of x: `z` of the batch, of the form of `encode`, or'
        " where there is none the row's own code",
        ('x',),
    ),
    'sample': Readout('a draw from the model, of the shape of x; not a mean', ('x',), True),
    'translate': Readout('x as a picture of the other domain, that of y', ('...',)),
    'translate_y': Readout('y as a picture of the domain of x', ('x',)),
    'assign': Readout('a cluster', (), whole=True),
    'classify': Readout('a class', (), whole=True),
    'transcribe': Readout('token ids, below zero where nothing is read', ('L',), whole=True),
    'align': Readout(
        'where the tokens of `text` lie, by name: `positions` [B, L] in columns, and of frames'
        ' [B, T, tokens and blank] `posteriors` without and `aligned` with the text',
        ('...',),
        named=True,
    ),
    'foresee': Readout(
        'of each place in order, [B, T, ..., 1 + most, D]: its latent, then what was predicted for'
        ' it k places before, k = 1, 2, ...; zeros: no prediction',
        ('...',),
    ),
    'attend': Readout('shares of attention on places', ('heads', 'h', 'w')),
}


def traced(
    name: str, readout: Callable, state: Any, batch: Mapping[str, Any], **options: Any
) -> Any:
    """Shapes that a readout answers for a batch of shapes; TypeError if they are not its own.

    Nothing is computed. A name that is not in READOUTS is a method's own: a row per row is asked.
    """
    known = READOUTS.get(name, Readout('', ('...',)))
    options = {**known.options, **options}
    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        out = jax.eval_shape(lambda k, s, b: readout(k, s, b, **options), key, state, batch)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise TypeError(f'readout {name!r} fails on a batch: {error}') from error
    x = batch['x']
    parts = out if known.named else {'': out}
    if known.named and not isinstance(out, Mapping):
        raise TypeError(
            f'readout {name!r} answers {told(out)}; it answers by name, as dict(reconstruction=...)'
        )
    for part, answer in parts.items():
        for leaf in jax.tree.leaves(answer):
            wanted = shape(known.row, x.shape, options)
            if not fits(leaf.shape, (x.shape[0], *wanted)):
                raise TypeError(
                    f'readout {name!r} answers {told(leaf)}{part and f" as {part!r}"} for x'
                    f' {told(x)}; it is {known.means or "an answer"}:'
                    f' [{", ".join(map(str, (x.shape[0], *wanted)))}], a row per row of the batch'
                )
            if known.whole and not jnp.issubdtype(leaf.dtype, jnp.integer):
                raise TypeError(f'readout {name!r} answers {told(leaf)}; it is whole numbers')
    if name == 'reconstruct':
        found = out.get('reconstruction')
        if found is None or found.shape != x.shape:
            has = 'none' if found is None else told(found)
            raise TypeError(f"readout 'reconstruct': `reconstruction` is {has} for x {told(x)}")
    return out


def shape(row: tuple[Any, ...], x: tuple[int, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
    """The shape of a row's answer, as far as batch and options tell."""
    sizes = {'T': x[1] if len(x) > 1 else 'T', 'T-1': x[1] - 1 if len(x) > 1 else 'T-1', **options}
    return tuple(s for part in row for s in (x[1:] if part == 'x' else (sizes.get(part, part),)))


def fits(found: tuple[int, ...], wanted: tuple[Any, ...]) -> bool:
    """Whether a shape is one of those: letters stand for any size, '...' for any axes."""
    if wanted and wanted[-1] == '...':
        wanted, found = wanted[:-1], found[: len(wanted) - 1]
    sizes = zip(found, wanted)
    return len(found) == len(wanted) and all(isinstance(w, str) or n == w for n, w in sizes)


def told(leaf: Any) -> str:
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return f'{leaf.dtype}{list(leaf.shape)}'
    return f'a {type(leaf).__name__}'
