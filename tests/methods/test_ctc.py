"""CTC, restated from Graves et al. 2006 (ICML): equations 5 to 16, in plain sums."""

import functools
import itertools
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle

BLANK = 73  # the last class: 73 tokens come first
STILL = dict.fromkeys(('zoom', 'aspect', 'shift', 'shear', 'rotation'), 0.0)
KEPT = np.random.default_rng(1).random((8, 16, 32))


def kept(key, p, shape):
    """In place of jax.random.bernoulli: what dropout keeps is known."""
    assert p == 0.8
    return jnp.asarray(KEPT[..., : shape[-1]] < p)


@functools.cache
def see():
    """With a view that moves no column, but changes what is there."""
    with mock.patch.object(jax.random, 'bernoulli', kept):
        view = str({'name': 'ink', **STILL})
        return oracle.see.__wrapped__('ctc', state=loud, model__view=view)


def loud(state):
    """Frames that differ, and are sure of something."""
    dense = state.params['head']['Dense_0']
    head = {'Dense_0': {'kernel': 6 * dense['kernel'], 'bias': dense['bias']}}
    return state.replace(params=state.params | {'head': head})


def ahead(p, l):  # noqa: E741
    """Equations 5 to 8: alpha [T, S] of p [T, S], the chance of each state's name l [S]."""
    skips = [s > 1 and l[s] != BLANK and l[s] != l[s - 2] for s in range(len(l))]
    alpha = np.zeros(p.shape)
    alpha[0, :2] = p[0, :2]
    for t, s in itertools.product(range(1, len(p)), range(len(l))):
        alpha[t, s] = p[t, s] * alpha[t - 1, s - 1 - skips[s] if s else 0 : s + 1].sum()
    return alpha


def restated(logits, text):
    """Of frames [T, V + 1] that count: -log p(text), posteriors without and with it, frames."""
    y = softmax(logits)
    l = np.full(2 * len(text) + 1, BLANK)  # noqa: E741
    l[1::2] = text
    p = y[:, l]
    alpha, beta = ahead(p, l), ahead(p[::-1, ::-1], l[::-1])[::-1, ::-1]
    total = alpha[-1, -2:].sum()
    share = alpha * beta / p / total  # equation 14
    np.testing.assert_allclose(share.sum(1), 1)
    posteriors = np.zeros(y.shape)
    for s, name in enumerate(l):
        posteriors[:, name] += share[:, s]
    tokens = share[:, 1::2]
    return -np.log(total), y, posteriors, np.arange(len(y)) @ tokens / tokens.sum(0)


def softmax(logits):
    p = np.exp(np.float64(logits) - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def lines(batch):
    """How many frames of four columns and how many tokens each row has."""
    return zip(-(-np.asarray(batch['length']) // 4), np.asarray(batch['text_length']))


def logits_of(seen, params, x, length, train):
    net = seen.nets('encoder')(params, {}, train=train, key=jax.random.key(5))
    dense = params['head']['Dense_0']
    return net.encoder(x, length) @ dense['kernel'] + dense['bias']


def test_the_loss():
    """The mean of -log p(text | line); equation 16 is its slope along the frames."""
    seen = see()
    (views,), batch = seen.views, seen.batch
    assert views.spec == seen.config['view'] and not seen.memory and not seen.logs
    np.testing.assert_array_equal(views.x, batch['x'])
    assert (np.ptp(views.out - views.x, axis=(1, 2, 3)) > 0.1).all()

    def pushed(params, slope):
        logits = logits_of(seen, params, views.out, batch['length'], True)
        return (logits * slope).sum(), logits

    pushed = jax.jit(jax.grad(pushed, has_aux=True))
    with mock.patch.object(jax.random, 'bernoulli', kept):
        _, logits = pushed(seen.state.params, np.zeros((8, 16, 74)))
    slope, values = np.zeros((8, 16, 74)), []
    for i, (T, L) in enumerate(lines(batch)):
        value, y, posteriors, _ = restated(
            np.asarray(logits[i, :T]), np.asarray(batch['text'])[i, :L]
        )
        values.append(value)
        slope[i, :T] = (y - posteriors) / 8
    oracle.close(seen.value, np.mean(values))
    oracle.close(seen.gradient, pushed(seen.state.params, slope)[0])


def test_dropout_and_the_view_have_keys():
    plain = jobs.job('ctc').method.turns['net'].loss
    for loss, fixed in ((see().job.method.turns['net'].loss, kept), (plain, jax.random.bernoulli)):
        with mock.patch.object(jax.random, 'bernoulli', fixed):
            value = jax.jit(loss)
            found = [value(jax.random.key(i), see().state, see().batch)[0] for i in range(3)]
            assert len(set(map(float, found))) == 3


@functools.cache
def read():
    """Of the moved net without dropout: logits, and what readouts say."""
    seen = see()
    ask, given = seen.job.method.readouts, (jax.random.key(1), seen.state, seen.batch)
    logits = oracle.quick(
        lambda s: logits_of(seen, s.params, seen.batch['x'], seen.batch['length'], False),
        seen.state,
    )

    def asked(*given):
        beams = [ask['transcribe'](*given, beam=beam) for beam in (0, 1, 64)]
        return ask['align'](*given), beams

    return (logits, *oracle.quick(asked, *given))


def test_alignment():
    """The E-step: names of frames given the text, and the mean column of each of its tokens."""
    logits, found, _ = read()
    batch = see().batch
    expected = {k: np.zeros_like(v) for k, v in found.items()}
    for i, (T, L) in enumerate(lines(batch)):
        text = np.asarray(batch['text'])[i, :L]
        _, y, posteriors, frames = restated(logits[i, :T], text)
        expected['posteriors'][i, :T], expected['aligned'][i, :T] = y, posteriors
        expected['positions'][i, :L] = 4 * (frames + 0.5)  # four columns each, from the left edge
    oracle.close(found, expected)


def test_transcription():
    """Section 3.2: repeats are merged, then blanks dropped, on the best path."""
    logits, _, (best, one, many) = read()
    batch, more, wider, merged = see().batch, 0, 0, 0
    tokens = lambda row: [int(k) for k in row if k >= 0]  # noqa: E731
    for i, (T, _) in enumerate(lines(batch)):
        path = logits[i, :T].argmax(1)
        text = [k for k, _ in itertools.groupby(path) if k != BLANK]
        merged += len(text) < (path != BLANK).sum()
        assert tokens(best[i]) == text
        texts = (text, tokens(one[i]), tokens(many[i]))
        path, kept, all_kept = (restated(logits[i, :T], words)[0] for words in texts)
        assert all_kept < min(path, kept) + 1e-4
        more += all_kept < path - 1e-4
        wider += all_kept < kept - 1e-4
    assert merged and more and wider  # prefixes find likelier texts, many of them find more


def test_without_lengths_all_columns_and_tokens_are_meant():
    seen = see()
    align = functools.partial(seen.job.method.readouts['align'], jax.random.key(1), seen.state)
    bare = {'x': seen.batch['x'], 'text': seen.batch['text'][:, :3]}
    whole = bare | {'length': np.full(8, 64), 'text_length': np.full(8, 3)}
    oracle.close(*oracle.quick(lambda *batches: [align(batch) for batch in batches], bare, whole))
