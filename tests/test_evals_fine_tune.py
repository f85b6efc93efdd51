"""Fine-tuning, the probe by SGD, features of a layer, k-means: exact properties and other codes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import jobs
import numpy as np
import optax
import pytest
import toys
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from ssljax import evaluate
from ssljax.evals.blocks import by_blocks
from ssljax.evals.evaluator import gain, standard_error
from ssljax.evals.fine_tune import (
    adamw,
    by_batch,
    descend,
    filled,
    flat,
    followed,
    parts,
    read,
    shares,
    weights,
)
from ssljax.evals.layer import at_layer
from ssljax.evals.subject import features
from ssljax.names import Mistake
from ssljax.nets import make

PLAIN = dict(name='identity')


def pictures(noise=1.0, **counts):
    """Blobs as images of 4 x 4 with three channels."""
    made = toys.labeled(noise=noise, **counts)

    def square(part):
        rows = part.rows(np.arange(part.count))
        x = np.random.default_rng(7).normal(size=(12, 48)).astype('f')
        return {'x': (rows['x'] @ x / 4).reshape(-1, 4, 4, 3), 'label': rows['label']}

    return toys.source(**{name: square(part) for name, part in made.splits.items()})


def pixels(batch):
    return batch['x'].reshape(len(batch['x']), -1)


def fresh(method):
    """A run at step 0, as evaluators see it."""
    job = jobs.job(method)
    return evaluate.subject(job.model.at(job.fresh()), job.source, 'trained')


@pytest.fixture(scope='module')
def trained():
    """A small run and what evaluators see of it."""
    return fresh('classifier')


@functools.cache
def few_pictures():
    return pictures().splits['train'].rows(np.arange(64))


# ---- what learns


def linear(x, params):
    h = x.reshape(len(x), -1) @ params['blocks_0']['kernel']
    return jnp.tanh(h) @ params['blocks_1']['kernel']


def moved(steps=1, frozen=0, **switches):
    """Params of a small encoder and its head after so many steps, less those before."""
    random = np.random.default_rng(0)
    sizes = dict(blocks_0=(48, 5), blocks_1=(5, 4))
    blocks = {name: {'kernel': np.float32(random.normal(size=n))} for name, n in sizes.items()}
    encoder = {'encoder': blocks}
    head = {'kernel': np.float32(0.1 * random.normal(size=(4, 5))), 'bias': np.zeros(5, 'f')}
    start, rows = {'encoder': encoder, 'head': head}, few_pictures()

    def logits(key, state, stats, learned, batch):
        h = linear(batch['x'], learned['encoder']['encoder'])
        return h @ learned['head']['kernel'] + learned['head']['bias']

    options = dict(encoder_rate=1.0, layer_decay=1.0, only='') | switches
    _, end = descend(
        logits, {}, {}, start, lambda: rows, share=shares(encoder, **options),
        view=lambda key, x: x, optimizer=adamw(1e-2, 0.0, steps), frozen=frozen, steps=steps,
    )  # fmt: skip
    return jax.tree.map(lambda a, b: np.abs(a - b).max(), end, start)


@pytest.mark.parametrize(
    'switches, first, second',
    [
        ({}, 1, 1),
        ({'encoder_rate': 0.1}, 0.1, 0.1),
        ({'layer_decay': 0.5}, 0.25, 0.5),
        ({'only': 'blocks_1'}, 0, 1),
        ({'frozen': 1}, 0, 0),
        ({'encoder_rate': 0.1, 'layer_decay': 0.5, 'only': 'blocks_0'}, 0.025, 0),
    ],
)
def test_each_switch_is_a_share_of_the_rate(switches, first, second):
    """Adam's first step is the rate itself, whatever the gradient."""
    found = moved(**switches)
    blocks = found['encoder']['encoder']
    assert blocks['blocks_0']['kernel'] == pytest.approx(0.01 * first, rel=1e-3)
    assert blocks['blocks_1']['kernel'] == pytest.approx(0.01 * second, rel=1e-3)
    assert found['head']['kernel'] == pytest.approx(0.01, rel=1e-3)


def test_a_held_encoder_begins_to_move():
    assert moved(steps=3, frozen=2)['encoder']['encoder']['blocks_0']['kernel'] > 0
    assert moved(steps=2, frozen=2)['encoder']['encoder']['blocks_0']['kernel'] == 0


def test_what_encode_reads_wherever_it_is():
    def blank(method):
        job = jobs.job(method)
        return job.model.at(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), job.shapes))

    simclr, dino = blank('simclr'), blank('dino')
    rows = {'x': np.zeros((1, 32, 32, 1), np.uint8)}
    paths = read(simclr, rows)
    assert all('projector' not in path for path in paths)
    assert any(path.startswith('memory/stats/encoder') for path in paths)
    assert set(weights(simclr.state, paths)) == {'encoder'}
    paths = read(dino, rows)
    assert paths and all(path.startswith('memory/teacher/params/encoder/') for path in paths)
    teacher = dino.state.memory['teacher']['params']['encoder']
    found = weights(dino.state, paths)['encoder']
    assert jax.tree.structure(found) == jax.tree.structure(teacher)


def test_batch_statistics_are_flax_own(trained):
    """Beside the net in its training mode: outputs, gradients and stored statistics."""
    job, net = jobs.job('classifier'), trained.model
    state = net.state
    x = np.random.default_rng(0).normal(size=(16, 32, 32, 1)).astype('f')
    encoder = make(job.config['model']['encoder'])
    stats = state.memory['stats']['encoder']

    def theirs(params):
        out, new = encoder.apply(
            {'params': params, **stats}, x, train=True, mutable=['batch_stats']
        )
        return (out**2).sum(), (out, new)

    def ours(params):
        found = {}
        with nn.intercept_methods(functools.partial(by_batch, found)):
            out = encoder.apply({'params': params, **stats}, x)
        return (out**2).sum(), (out, found)

    params = state.params['encoder']
    a, (out, new) = jax.jit(jax.grad(theirs, has_aux=True))(params)
    b, (same, found) = jax.jit(jax.grad(ours, has_aux=True))(params)
    np.testing.assert_allclose(same, out, atol=1e-4)
    for g, h in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(h, g, atol=1e-3 * np.abs(g).max() + 1e-6)
    paths = read(net, {'x': x[:1]})
    old, found = parts(state, paths, 'batch_stats'), flat(found)
    assert set(old) == set(found)
    moved = {name: followed(leaf, found[name]) for name, leaf in old.items()}
    after = filled(state, paths, 'batch_stats', moved).memory['stats']
    for g, h in zip(
        jax.tree.leaves(new['batch_stats']), jax.tree.leaves(after['encoder']), strict=True
    ):
        np.testing.assert_allclose(h, g, atol=1e-4)


def test_fine_tuning_learns_and_a_baseline_cannot(trained):
    few = dict(train_size=64, test='train', batch=32, view=PLAIN)  # it learns them by heart
    short = toys.scores('fine_tune', trained, steps=1, learning_rate=1e-6, **few)
    options = dict(steps=80, learning_rate=1e-2, statistics='batch')
    long = toys.scores('fine_tune', trained, **options, **few)
    mean, error = gain(long.rows['accuracy'], short.rows['accuracy'])
    assert mean > 3 * error
    source = trained.source
    with pytest.raises(Mistake) as mistake:
        toys.score('fine_tune', toys.subject(source, encode=pixels)[0])
    toys.one_line(mistake, 'fine_tune needs a model; someone has no weights')
    with pytest.raises(Mistake) as mistake:
        toys.score('fine_tune', trained, only='heads', **few)
    toys.one_line(mistake, "only='heads' matches none", 'encoder/')
    with pytest.raises(Mistake) as mistake:
        toys.score('fine_tune', trained, statistics='new', **few)
    toys.one_line(mistake, "'new'", 'batch, stored')


# ---- the probe by SGD


def test_sgd_probe_is_sgd():
    """Beside a loop in NumPy over the same draws, in float64."""
    made = pictures(noise=2.0)
    who, _ = toys.subject(made, encode=pixels)
    found = toys.score('sgd_probe', who, view=PLAIN, learning_rates=(0.05,), batch=50, epochs=3)
    x, y = made.splits['train'].rows(np.arange(400)).values()
    x = x.reshape(len(x), -1).astype(float)
    mean, scale = x.mean(0), x.std(0)
    w, trace, step = np.zeros((49, 5)), 0, 0
    for epoch in range(3):
        for i in np.random.default_rng(epoch).permutation(400).reshape(8, 50):
            h = np.c_[(x[i] - mean) / scale, np.ones(50)]
            p = np.exp(h @ w)
            p /= p.sum(1, keepdims=True)
            trace = h.T @ (p - np.eye(5)[y[i]]) / 50 + 0.9 * trace
            w -= 0.05 * (1 + np.cos(np.pi * step / 24)) / 2 * trace
            step += 1
    for split, key in (('validation', 'validation_accuracy'), ('test', 'accuracy')):
        rows = made.splits[split].rows(np.arange(made.splits[split].count))
        h = np.c_[(rows['x'].reshape(len(rows['x']), -1) - mean) / scale, np.ones(len(rows['x']))]
        assert found[key] == pytest.approx(100 * np.mean((h @ w).argmax(1) == rows['label']))


def test_sgd_probe_chooses_a_rate_and_sees_other_views():
    made, seen = pictures(noise=2.0), []

    def encode(batch):
        seen.append(batch['x'])
        return pixels(batch)

    who, _ = toys.subject(made, encode=encode)
    options = dict(learning_rates=(1e-5, 0.03), batch=50, epochs=3)
    found = toys.score('sgd_probe', who, view=dict(name='crop', scale=(0.5, 0.9)), **options)
    assert found['learning_rate'] == 0.03
    views = [x for x in seen if len(x) == 400][1:]  # the first are the rows as they are
    assert len(views) == 3 and not any(np.allclose(views[0], other) for other in views[1:])
    probe = toys.scores('linear_probe', who).rows['accuracy']
    plain = toys.scores('sgd_probe', who, view=PLAIN, **options).rows['accuracy']
    assert abs(plain.mean() - probe.mean()) < 3 * standard_error(probe)
    with pytest.raises(Mistake) as mistake:
        toys.score('sgd_probe', toys.subject(toys.labeled(), encode=toys.encode)[0])
    toys.one_line(mistake, 'sgd_probe needs images', '[12]')


# ---- k-means


def test_kmeans_beside_scikit():
    who, _ = toys.subject(toys.labeled(noise=1.2), encode=toys.encode)
    found = toys.score('kmeans', who)
    x, y = who.source.splits['test'].rows(np.arange(300)).values()
    x = x - x.mean(0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    other = KMeans(5, n_init=10, random_state=0).fit_predict(x)
    assert found['nmi'] == pytest.approx(normalized_mutual_info_score(y, other), abs=0.02)
    easy = toys.score('kmeans', toys.subject(toys.labeled(noise=0.01), encode=toys.encode)[0])
    assert easy['accuracy'] == 100 and easy['ari'] == pytest.approx(1)
    with pytest.raises(Mistake) as mistake:
        toys.score('kmeans', who, clusters=301)
    toys.one_line(mistake, 'clusters=301', '300 rows')


# ---- layers, features that are kept, blocks


def test_a_layer_is_what_linen_says_it_is(trained):
    model, index = trained.model, np.arange(8)
    x = trained.source.splits['test'].rows(index)['x'] / np.float32(127.5) - 1
    variables = {'params': model.state.params['encoder'], **model.state.memory['stats']['encoder']}
    encoder = make(jobs.job('classifier').config['model']['encoder'])
    told = dict(capture_intermediates=True, mutable=['intermediates'])
    _, seen = jax.jit(lambda variables, x: encoder.apply(variables, x, **told))(variables, x)
    inside = at_layer(trained, 'Conv_0')
    found, _ = features(inside, 'test', index, 'test')
    expected = seen['intermediates']['Conv_0']['__call__'][0].mean((1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(Mistake) as mistake:
        toys.score('knn', trained, k=5, layer='Conv_7')
    toys.one_line(mistake, "layer 'Conv_7'", 'Conv_0')
    plain, _ = toys.subject(trained.source, encode=pixels)
    assert at_layer(plain, 'Conv_0') is plain


def test_features_are_computed_once_for_all_evaluators():
    made, asked = toys.labeled(), []

    def encode(batch):
        asked.append(len(batch['x']))
        return batch['x']

    who = toys.subject(made, encode=encode)[0]._replace(kept={})
    first = toys.score('knn', who, picture=False)
    count = len(asked)
    assert toys.score('knn', who, picture=False) == first and len(asked) == count
    toys.score('linear_probe', who)
    assert len(asked) == count + 1  # validation rows


def test_features_of_layers_are_kept_apart(trained):
    ours, index = trained._replace(kept={}), np.arange(8)
    whole, _ = features(ours, 'test', index, 'test')
    inner, _ = features(at_layer(ours, 'Conv_0'), 'test', index, 'test')
    assert whole.shape != inner.shape
    np.testing.assert_array_equal(features(ours, 'test', index, 'test')[0], whole)


def test_queries_are_cut_over_the_devices():
    places = []

    @jax.jit
    def double(x):
        jax.debug.inspect_array_sharding(x, callback=places.append)
        return 2 * x, x.sum(1)

    x = np.random.default_rng(0).normal(size=(37, 3)).astype('f')
    twice, total = by_blocks(double, x, 10)
    np.testing.assert_allclose(twice, 2 * x)
    np.testing.assert_allclose(total, x.sum(1), rtol=1e-5)
    assert jax.device_count() == 8
    assert {place.num_devices for place in places} == {8}
    assert not any(place.is_fully_replicated for place in places)


def test_adamw_warms_up():
    rates = []
    optimizer = adamw(1.0, 0.0, 20)
    params = {'w': jnp.ones(1)}
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for _ in range(20):
        updates, state = update({'w': jnp.ones(1)}, state, params)
        rates.append(-float(updates['w'][0]))
    expected = optax.cosine_decay_schedule(1.0, 18)
    assert rates[:2] == pytest.approx([0.5, 1.0], abs=1e-3)
    assert rates[2:] == pytest.approx([float(expected(i)) for i in range(18)], abs=1e-3)
