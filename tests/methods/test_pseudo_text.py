"""Pseudo-labels of texts, restated: rounds of reading by CTC (Graves et al. 2006, eqs. 3 to 8)."""

import functools
import inspect
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

from ssljax.methods import pseudo_text as method
from ssljax.nets import Nets
from ssljax.nets.named import Bound
from ssljax.step import floats

BLANK, STRIDE = 73, 4  # the blank comes after the 73 tokens; a frame has 4 columns
DRY = {'model__encoder__dropout': 0.0, 'model__view': "{'name': 'document', 'kinds': ('print',)}"}
ROWS = 80  # 48 lines of which 8 have a text; these are repeated until they are half


def likelihood(p, texts, frames):
    """p(text) of each row, of p [B, T, V]: the sum over alignments, by forward variables."""
    S = 2 * max(map(len, texts)) + 1
    names, ways, ends = np.full((len(p), S), BLANK), np.zeros((len(p), S, S)), np.zeros((len(p), S))
    for i, text in enumerate(texts):
        names[i, 1 : 2 * len(text) : 2] = text
        for s in range(2 * len(text) + 1):
            back = [s, s - 1]
            if s % 2 and s > 1 and names[i, s] != names[i, s - 2]:
                back.append(s - 2)
            ways[i, [b for b in back if b >= 0], s] = 1
        ends[i, max(2 * len(text) - 1, 0) : 2 * len(text) + 1] = 1
    of = p[np.arange(len(p))[:, None, None], np.arange(p.shape[1])[:, None], names[:, None]]
    a = of[:, 0] * (np.arange(S) < 2)
    for t in range(1, p.shape[1]):
        a = jnp.where((t < frames)[:, None], jnp.einsum('bs,bsu->bu', a, ways) * of[:, t], a)
    return (a * ends).sum(1)


def later(state):
    """Two rounds on: some rows have a reading, and given texts have stayed."""
    random = np.random.default_rng(3)
    size = random.integers(0, 4, ROWS).astype(np.int32)
    text = random.integers(0, 73, (ROWS, 15)).astype(np.int32)
    rows = jobs.job('pseudo_text').train.rows(np.arange(ROWS))
    given = rows['labelled']
    return state.remember(
        text=np.where(given[:, None], rows['text'], text),
        size=np.where(given, rows['text_length'], size),
        round=np.int32(2),
    )


@pytest.mark.parametrize('state', [None, later])
def test_the_loss(state):
    """A mean over the rows that have a text; in the first round, the given ones alone."""
    seen = oracle.see('pseudo_text', state=state, **DRY)
    memory, batch = seen.state.memory, jax.device_get(seen.batch)
    index, (view,) = batch['index'], seen.views
    assert view.spec == seen.config['view'] and all(call.train for call in seen.calls)
    np.testing.assert_array_equal(view.x, batch['x'])
    assert np.abs(view.out - view.x).max() > 0.01
    texts = [
        row[:n]
        for row, n in (
            zip(memory['text'][index], memory['size'][index])
            if state
            else zip(batch['text'], batch['text_length'])
        )
    ]
    weight = np.array([len(text) > 0 for text in texts])
    assert 0 < weight.sum() < 8
    frames = -(-batch['length'] // STRIDE)

    def loss(params):
        net = seen.nets('encoder')(params, train=True)
        dense = params['head']['Dense_0']
        logits = net.encoder(view.out, batch['length']) @ dense['kernel'] + dense['bias']
        e = jnp.exp(logits)
        p = likelihood(e / e.sum(2, keepdims=True), texts, frames)
        return (weight * -jnp.log(p)).sum() / weight.sum()

    value, gradient = oracle.quick(jax.value_and_grad(loss), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.logs, {'known': weight.mean()})
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, memory)


def rows_of(job):
    """All training rows, some narrower than they are."""
    rows = floats(job.train.rows(np.arange(ROWS)))
    rows['length'] = np.random.default_rng(5).integers(28, 49, ROWS).astype(np.int32)
    return rows | {'index': np.arange(ROWS, dtype=np.int32)}


def collapsed(path):
    return [v for i, v in enumerate(path) if v != BLANK and (i == 0 or v != path[i - 1])]


def answers(job, rows):
    """Logits [ROWS, 12, 74] of words, pairs of words, no words, nothing, and the truth."""
    random, tokens = np.random.default_rng(6), job.run.tokens
    known = [w for w in job.run.words if 1 < len(w) < 4 and set(w) <= set(tokens) - {' '}]
    logits = random.normal(scale=0.5, size=(ROWS, 12, 74)).astype(np.float32)
    for i in range(ROWS):
        word, other = (known[random.integers(len(known))] for _ in range(2))
        true = rows['true_text'][i][: rows['true_text_length'][i]]
        pair, gap = f'{word} {other}', f'{word}  a'
        text = [word, pair, None, '', None, gap, f' {word}', None][i % 8]
        ids = list(true) if text is None else [tokens.index(c) for c in text]
        if i % 8 == 2:  # one letter is wrong
            ids[0] = (ids[0] + 1) % BLANK
        path = []
        for token in ids:
            path += [BLANK] * (path[-1:] == [token]) + [token]
        path = path + path[-1:] + [BLANK] * 12
        path[-(-rows['length'][i] // STRIDE) :] = [3] * 30  # beyond the line
        confidence = random.uniform(5.5, 12)
        logits[i, np.arange(12), path[:12]] += confidence
    return logits


@functools.cache
def refreshed(threshold, spelled):
    job = jobs.job('pseudo_text', model__threshold=threshold, model__spelled=spelled, **DRY)
    rows, state = rows_of(job), later(oracle.moved(job, 3))
    logits = answers(job, rows)
    call = Bound._call

    def answer(self, name, *args, **options):
        out = call(self, name, *args, **options)
        assert not options.get('train', self.train)
        assert name != 'encoder' or np.allclose(args[0], rows['x'], atol=1e-6)  # no view
        return jnp.asarray(logits) if name == 'head' else out

    def sweep(readout, state, **options):
        with mock.patch.object(Bound, '_call', answer):
            batch = {k: jnp.asarray(v) for k, v in rows.items()}
            return jax.device_get(readout(jax.random.key(0), state, batch, **options))

    new, metrics = job.method.refresh.rule(jax.random.key(1), state, sweep)
    return job, rows, logits, state, jax.device_get(new), jax.device_get(metrics)


def test_defaults():
    keywords = inspect.signature(method.pseudo_text).parameters
    values = dict(epochs=4, threshold=0.5, spelled=True, view={'name': 'identity'})
    assert {name: keywords[name].default for name in values} == values


@pytest.mark.parametrize('threshold, spelled', [(0.5, True), (0.2, False), (1.0, True)])
def test_a_refresh(threshold, spelled):
    """Readings that are likely, not empty, and spelled right are the texts of the next round."""
    job, rows, logits, state, new, metrics = refreshed(threshold, spelled)
    assert not jobs.differing((new.params, new.opt), (state.params, state.opt))
    assert new.memory['round'] == state.memory['round'] + 1
    frames = -(-rows['length'] // STRIDE)
    readings = [collapsed(row[:n]) for row, n in zip(logits.argmax(2), frames)]
    e = np.exp(np.float64(logits))
    p = np.asarray(likelihood(e / e.sum(2, keepdims=True), readings, frames))
    assert np.abs(p - threshold).min() > 1e-6
    written = [''.join(job.run.tokens[token] for token in reading) for reading in readings]
    spelt = np.array([set(line.split(' ')) <= set(job.run.words) for line in written])
    given = rows['labelled']
    likely = (p >= threshold) & np.array([len(line) > 0 for line in written]) & ~given
    kept = likely & (spelt | (not spelled))
    truth = zip(rows['true_text'], rows['true_text_length'])
    true = np.array([r == t[:n].tolist() for r, (t, n) in zip(readings, truth)])
    for i in range(ROWS):
        text = rows['text'][i][: rows['text_length'][i]] if given[i] else readings[i]
        text = text if given[i] or kept[i] else []
        np.testing.assert_array_equal(new.memory['text'][i][: new.memory['size'][i]], text)
    wrong = (likely & ~spelt).sum() / max(likely.sum(), 1) if spelled else 0.0
    right = true[kept].mean() if kept.any() else 0.0
    expected = {'accepted': kept[~given].mean(), 'purity': right, 'misspelled': wrong}
    oracle.close(metrics, expected)
    assert threshold == 1 or (0 < right < 1 and 0 < kept[~given].mean() < 1)
    if threshold < 1:  # what could be mistaken is there
        equal = np.array([len(line) for line in readings]) == rows['true_text_length']
        assert spelled or (kept & equal & ~true).any()
        assert (~given & (p >= threshold) & np.array([not line for line in written])).any()


def test_the_reader():
    """Of each frame within the line, the likeliest; repeats are one token, then blanks go."""
    job = jobs.job('pseudo_text')
    state, rows = oracle.moved(job, 1), rows_of(job)
    loss = jax.jit(lambda key: job.method.turns['net'].loss(key, state, rows)[0])
    assert loss(jax.random.key(1)) != loss(jax.random.key(2))  # dropout
    net = Nets(encoder=job.config['model']['encoder'])(state.params)
    dense = state.params['head']['Dense_0']
    found, logits = oracle.quick(
        lambda key, state, rows: (
            job.method.readouts['transcribe'](key, state, rows),
            net.encoder(rows['x'], rows['length']) @ dense['kernel'] + dense['bias'],
        ),
        *(jax.random.key(1), state, rows),
    )
    for row, path, length in zip(found, logits.argmax(2), rows['length']):
        np.testing.assert_array_equal(row[row >= 0], collapsed(path[: -(-length // STRIDE)]))
    assert (found >= 0).any() and (found < BLANK).all()


def test_rounds():
    """Of so many epochs, of 10 steps; the first begins with nothing read."""
    job = jobs.job('pseudo_text')
    refresh, memory = job.method.refresh, job.fresh().memory
    assert [bool(refresh.when(i)) for i in range(8)] == [i in (3, 6) for i in range(8)]
    assert refresh.restarts == ('net',) and job.method.by_rows == ('text', 'size')
    assert not np.asarray(memory['size']).any() and memory['round'] == 0
    when = jobs.job('pseudo_text', model__epochs=2).method.refresh.when
    assert [i for i in range(50) if when(i)] == [20, 40]
