"""CLIP, restated from Radford et al. 2021, arXiv:2103.00020: figure 3 and section 2.5. The loss of
single pairs is algorithm 1 of Zhai et al. 2023, arXiv:2303.15343."""

import inspect
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

from ssljax.method import Run
from ssljax.methods.clip import clip as method
from ssljax.names import Mistake
from ssljax.step import floats

SMALL = {'model__encoder__widths': (4,), 'model__text_encoder': "{'name': 'bag', 'width': 4}"}
SIGLIP = {**SMALL, 'model__siglip': True}
BLOCK = {'model__block': 5}  # which does not divide the batch


def below(state):
    """With a scale of 9, which is under the limit of 14."""
    logit = {**state.params['logit'], 'scale': jnp.log(9.0)}
    return state.replace(params=state.params | {'logit': logit})


def unit(z):
    return z / jnp.sqrt(jnp.square(z).sum(1, keepdims=True))


def towers(seen, params, images, texts, lengths, train=False):
    """Features and unit vectors of images, unit vectors of texts, and the statistics."""
    nets = seen.nets('encoder', 'text_encoder', vocab=seen.job.run.vocab)
    net = nets(params, seen.state.memory['stats'], train=train)
    features = net.encoder(images)
    z = unit(features @ params['projector']['Dense_0']['kernel'])
    words = net.text_encoder(texts, lengths)
    return features, z, unit(words @ params['text_projector']['Dense_0']['kernel']), net.stats


def clip(logits):
    """Figure 3: a cross entropy along each axis; the right answer of row i is column i."""
    own = jnp.diag(logits)
    of_images = jnp.log(jnp.exp(logits).sum(1)) - own
    of_texts = jnp.log(jnp.exp(logits).sum(0)) - own
    return (of_images.mean() + of_texts.mean()) / 2


def siglip(logits):
    """Algorithm 1: all pairs are summed, and the sum is divided by the number of images."""
    signs = 2 * np.eye(len(logits)) - 1
    return jnp.log(1 + jnp.exp(-signs * logits)).sum() / len(logits)


def restated(seen):
    """Gradient; value, statistics, both kinds of vectors."""
    text, length = seen.batch['text'], seen.batch['text_length']

    def objective(params):
        _, z, z_text, stats = towers(seen, params, seen.views[0].out, text, length, train=True)
        logits, logit = z @ z_text.T, params['logit']
        if seen.config['siglip']:
            value = siglip(jnp.exp(logit['scale']) * logits + logit['bias'])
        else:
            value = clip(jnp.exp(logit['scale']) * logits)
        return value, (value, stats, z, z_text)

    return oracle.quick(jax.grad(objective, has_aux=True), seen.state.params)


def rank(z):
    e = np.linalg.eigvalsh(np.cov(z.T))
    return e.sum() ** 2 / np.square(e).sum()


@pytest.mark.parametrize('changes', [{}, {**SMALL, **BLOCK}, SIGLIP])
def test_the_loss(changes):
    seen = oracle.see('clip', state=below, **changes)
    gradient, (value, stats, z, z_text) = restated(seen)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {'stats': stats})
    found = dict(seen.logs)
    oracle.close(found.pop('scale'), 9.0)  # the temperature's inverse, and not its log
    oracle.close(found, {'rank': rank(z), 'rank_text': rank(z_text)}, 1e-3)


def test_blocks_of_columns_change_nothing():
    whole, cut = (oracle.see('clip', state=below, **SIGLIP, **more) for more in ({}, BLOCK))
    oracle.close((cut.value, cut.gradient), (whole.value, whole.gradient))


def test_images_are_cropped_and_texts_are_not_changed():
    """Section 2.4: a random square crop is the only augmentation."""
    seen = oracle.see('clip', state=below)
    (views,) = seen.views
    assert views.spec == seen.config['view'] and (views.x == seen.batch['x']).all()
    change = np.abs(views.out - seen.batch['x']).max((1, 2, 3))
    assert views.out.shape == views.x.shape and (change > 1e-3).mean() > 0.9
    (words,) = (call for call in seen.calls if call.net == 'text_encoder')
    assert words.train and (words.args[0] == seen.batch['text']).all()
    assert all(call.train for call in seen.calls if call.net == 'encoder')


@pytest.mark.parametrize('changes', [{}, SIGLIP])
def test_the_scale_is_learned_and_has_a_limit(changes):
    """Section 2.5: it starts at 1 / 0.07, and is clipped; Zhai et al., section 3.2: at 10, and the
    bias at -10."""
    seen = oracle.see('clip', state=below, **changes)
    start = jax.device_get(seen.job.fresh().params['logit'])
    if changes:
        oracle.close(start, {'scale': np.log(10), 'bias': -10.0}, 1e-6)
    else:
        assert list(start) == ['scale'] and abs(start['scale'] - np.log(1 / 0.07)) < 0.03
    assert seen.gradient['logit']['scale'] != 0
    params = seen.state.params
    for scale, left in ((np.log(13.9), np.log(13.9)), (np.log(14.1), np.log(14)), (-0.5, -0.5)):
        logit = {**params['logit'], 'scale': jnp.float32(scale)}
        state = seen.state.replace(params=params | {'logit': logit}, memory=seen.memory)
        found, logs = seen.job.method.after(jax.random.key(0), state, seen.batch)
        oracle.close(found.params, params | {'logit': logit | {'scale': left}}, 1e-6)
        assert not logs and not jobs.differing(found.memory, seen.memory)


def test_readouts():
    """With stored statistics; what is behind the end of a text changes nothing."""
    seen = oracle.see('clip', state=below)
    x, text, length = (seen.batch[name] for name in ('x', 'text', 'text_length'))
    behind = jnp.arange(text.shape[1]) >= length[:, None]
    assert behind.any()
    expected = oracle.quick(lambda p: towers(seen, p, x, text, length)[:3], seen.state.params)

    def asked(state, x, text, length):
        key, ask = jax.random.key(0), seen.job.method.readouts
        texts = {'x': x, 'text': text, 'text_length': length}
        alone = {'text': text, 'text_length': length}  # as of prompts, which have no images
        images = {'x': x}
        return (
            ask['encode'](key, state, images),
            unit(ask['embed'](key, state, images)),  # vectors are compared by cosines
            unit(ask['embed_text'](key, state, alone)),
            unit(ask['embed_text'](key, state, texts)),
        )

    other = jnp.where(behind, 5, text)
    found = oracle.quick(asked, seen.state, x, other, length)
    oracle.close(found, (*expected, expected[2]))


def test_of_several_captions_one_is_drawn():
    """For each image another one, as often as any, with its own length."""
    batch = jobs.batch

    def three(job, step):
        found = batch(job, step)
        text = jnp.stack([found['text'], found['text'] + 1, found['text'] + 2], 1)
        length = found['text_length'][:, None] - jnp.arange(3)
        return {**found, 'text': text, 'text_length': length}

    with mock.patch.object(jobs, 'batch', three):
        seen = oracle.see.__wrapped__('clip', **SMALL)
    (words,) = (call for call in seen.calls if call.net == 'text_encoder')
    text, length = words.args
    every = seen.batch['text']
    drawn = text[:, 0] - every[:, 0, 0]
    assert set(drawn.tolist()) == {0, 1, 2} and np.bincount(drawn).min() > 1
    rows = np.arange(len(drawn))
    assert (text == every[rows, drawn]).all()
    assert (length == seen.batch['text_length'][rows, drawn]).all()

    def vectors(state, batch):  # the vector of several is the mean of theirs
        ask, net = seen.job.method.readouts['embed_text'], nets(state.params)
        lengths = batch['text_length'] if 'text_length' in batch else 16 + 0 * every[..., 0]
        each = net.text_encoder(every.reshape(-1, 16), lengths.reshape(-1))
        each = each @ state.params['text_projector']['Dense_0']['kernel']
        return ask(jax.random.key(0), state, batch), each.reshape(16, 3, 8).mean(1)

    nets = seen.nets('text_encoder', vocab=seen.job.run.vocab)
    whole = {'text': every}  # without lengths all tokens are meant
    for texts in (whole, {**whole, 'text_length': seen.batch['text_length']}):
        oracle.close(*oracle.quick(vectors, seen.state, texts))


def test_dropout_has_a_key():
    job = jobs.job('clip', model__text_encoder__dropout=0.5)
    state, batch = job.shapes, floats(jobs.batch(job, 0))
    jax.eval_shape(job.method.turns['net'].loss, jax.random.key(0), state, batch)


def test_images_without_texts_and_the_papers_values():
    given = inspect.signature(method).parameters
    assert given['limit'].default == 100 and not given['siglip'].default  # section 2.5
    text = given['text_encoder'].default  # section 2.4
    assert (text['width'], text['depth'], text['heads'], text['context']) == (512, 12, 8, 77)
    with pytest.raises(Mistake, match='text'):
        method(Run(4, 4, 16, 16, row={'x': jax.ShapeDtypeStruct((8, 8, 3), np.uint8)}))
