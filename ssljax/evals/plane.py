"""A map in the plane: features of two dimensions as a picture, and whether neighbors are alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from ssljax.data.source import Source, of_tokens
from ssljax.evals.baselines import Readouts, fitted_to, pixels
from ssljax.evals.blocks import by_blocks, everywhere
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.measures import flat, percent
from ssljax.evals.pictures import lettering
from ssljax.evals.subject import Subject, features, part_of, pick
from ssljax.kinds import Count, SplitName
from ssljax.names import Mistake

SIDE, RIM = 640, 24  # of the picture, in pixels


def principal(source: Source, key: jax.Array) -> Readouts:
    """The two principal axes of training rows: the best map of two dimensions that is linear."""
    if of_tokens(source):
        return {}

    @functools.cache
    def fitted():
        x = np.concatenate([flat(rows['x']) for rows in fitted_to(source, 10000)]).astype(float)
        _, vectors = np.linalg.eigh(np.cov(x.T).reshape(2 * x.shape[1:]))
        return x.mean(0), vectors[:, -2:]

    def encode(batch):
        mean, two = fitted()
        return (flat(batch['x']) - mean) @ two

    return {'encode': encode}


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 5000,
    k: Count = 5,
    shown: Count = 1500,
) -> Scores:
    """Percent of rows whose class is the commonest among their k nearest others, by distance.

    Features of two dimensions are drawn: each row is the first letter of its class, in the color of
    its class. Others get the number alone.

    split, size: so many rows of this split; none: all.
    k: neighbors that vote; of a tie, the class of the nearer ones.
    shown: rows in the picture.
    """
    source = subject.source
    h, label = features(subject, split, pick(part_of(source, split).count, size), 'plane')
    if len(h) <= k or label.min() == label.max():
        raise Mistake(
            f'plane needs two classes and more than {k} rows; the split {split} of {source.name}'
            f' gives {len(h)} rows: set k lower or size higher'
        )
    rows = everywhere(h), everywhere(label)
    vote = functools.partial(votes, *rows, k=k, classes=int(label.max()) + 1)
    (right,) = by_blocks(vote, np.arange(len(h), dtype=np.int32), 2**23 // len(h) + 1)
    if h.shape[1] == 2:
        subject.save('plane', picture(h[:shown], label[:shown], source.class_names))
    return averaged({'accuracy': percent(right)}, dims=h.shape[1], k=k, rows=len(h))


@functools.partial(jax.jit, static_argnames=('k', 'classes'))
def votes(h, label, asked, *, k, classes):
    """Whether the vote of the k nearest others of each asked row is right: a tuple of bool [q]."""
    q = h[asked]
    cross = jnp.matmul(q, h.T, precision='highest')
    near = 2 * cross - jnp.square(h).sum(1)  # minus the squared distance, up to |q|^2
    near = jnp.where(asked[:, None] == jnp.arange(len(h)), -jnp.inf, near)
    _, nearest = jax.lax.top_k(near, k)
    weight = 1 - 1e-3 * jnp.arange(k) / k  # decides ties for the nearer
    counts = (jax.nn.one_hot(label[nearest], classes) * weight[:, None]).sum(1)
    return (counts.argmax(1) == label[asked],)


def picture(h: np.ndarray, label: np.ndarray, names: tuple[str, ...]) -> Image.Image:
    """Points [N, 2] on white, within the middle 99 percent of both axes."""
    low, high = np.quantile(h, (0.005, 0.995), axis=0)
    scale = (SIDE - 2 * RIM) / max(float((high - low).max()), 1e-12)
    at = SIDE / 2 + (h - (low + high) / 2) * scale * (1, -1)  # y upwards
    whole, font = Image.new('RGB', (SIDE, SIDE), 'white'), lettering(13)
    draw, classes = ImageDraw.Draw(whole), np.unique(label)
    for c, place in zip(label, at, strict=True):
        hue = round(360 * int(np.searchsorted(classes, c)) / len(classes))
        mark = names[c][:1] if c < len(names) else str(c % 10)
        draw.text(tuple(place), mark or '.', f'hsl({hue}, 90%, 40%)', font, anchor='mm')
    return whole


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(principal, pixels),
    shown={'accuracy': Shown('map, k-NN, k = {k}')},
)
