"""Each evaluator on a small subject: rows whose mean is the number, and what readouts are asked."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

from ssljax import evals, names, readouts
from ssljax.data.source import Source, Split

OFFERED = evals.offered()


def options_of(name):
    """Options with their defaults."""
    return names.options(OFFERED[name].run)


# ---- a subject for each


def images(count=40, classes=4):
    """Four patterns of 8 x 8 pixels."""
    random, y = np.random.default_rng(0), np.arange(count) % classes
    patterns = np.random.default_rng(9).integers(256, size=(classes, 8, 8, 1))
    x = np.clip(patterns[y] + random.integers(-250, 250, (count, 8, 8, 1)), 0, 255)
    return dict(x=x.astype(np.uint8), label=y.astype(np.int32))


def encode(key, state, batch):
    return batch['x'].reshape(len(batch['x']), -1) @ state['params']['encoder']['kernel']


def with_a_model(who):
    """The subject, with a small model as evaluators use it."""
    kernel = np.random.default_rng(1).normal(size=(64, 6)).astype('f') / 8
    model = SimpleNamespace(
        state={'params': {'encoder': {'kernel': jnp.asarray(kernel)}}},
        readouts={'encode': encode},
        place=lambda rows: {name: jnp.asarray(values) for name, values in rows.items()},
    )

    def over(readout, state, rows, **options):
        rows = {**rows, 'x': rows['x'] / np.float32(127.5) - 1}
        return np.asarray(readout(toys.KEY, state, rows, **options))

    model.over = over
    return who._replace(model=model)


def masked(batch, **options):
    x = batch['x'] / np.float32(127.5) - 1
    mask = np.arange(4)[None] < 1 + batch['index'][:, None] % 3  # of four patches of 4 x 4
    hidden = mask.reshape(-1, 2, 2).repeat(4, 1).repeat(4, 2)[..., None]
    noise = np.random.default_rng(int(batch['index'][0])).normal(size=(2, *x.shape))
    return {
        'reconstruction': np.where(hidden, x + 0.1 * noise[0], x),
        'means': np.where(hidden, x + 0.3 * noise[1], x),
        'mask': mask,
    }


def seeded(batch, shape):
    """Numbers that depend on the row alone."""
    return np.stack([np.random.default_rng(int(i)).random(shape) for i in batch['index']])


def words_of(tmp_path, text):
    path = tmp_path / 'file.txt'
    path.write_text(text)
    made = Source('words', {'train': Split(1, lambda i: {'x': np.zeros((1, 1), np.int32)})}, '')
    made = made._replace(vocab=('king', 'queen', 'man', 'woman', 'boy', 'girl'))
    table = np.random.default_rng(2).normal(size=(6, 3))
    return toys.subject(made, vectors=lambda b, **o: table[b['x']])[0], dict(path=str(path))


def text():
    x = np.random.default_rng(3).integers(4, size=(30, 9))
    mask = np.ones((30, 9), np.float32) * (np.arange(9) > 2)
    rows = dict(x=x, mask=mask, text=x[:, :5], text_length=1 + np.arange(30) % 5)
    return toys.source(vocab=('ab', 'c', ' ', 'd'), train=rows, test=rows)


def lined():
    random, text = np.random.default_rng(5), np.array([[0, 1, 2]]).repeat(12, 0)
    x = random.integers(0, 256, (12, 8, 24, 1)).astype(np.uint8)
    places = np.array([[3, 8, 13]]) + random.normal(size=(12, 3))
    rows = dict(x=x, text=text, text_length=1 + np.arange(12) % 3, positions=places)

    def align(batch, **options):
        free, told = (seeded(batch, (6, 4)) ** power for power in (1, 2))
        found = {'posteriors': free, 'aligned': told}
        return found | {'positions': 3 + seeded(batch, 3) + batch['text'] * 5}

    made = toys.source(vocab=('a', 'b', 'c'), train=rows, test=rows)
    return toys.subject(made, align=align)[0], {}


def plane():
    x = np.random.default_rng(5).normal(size=(30, 2)).astype('f')
    return toys.source(train=dict(x=x), test=dict(x=x))._replace(log_density=lambda x: -x[:, 0])


def paired():
    random = np.random.default_rng(4)
    x, count = random.normal(size=(20, 5)).astype('f'), 20
    rows = dict(x=x, text=np.arange(count)[:, None], label=(np.arange(count) % 3).astype(np.int32))
    made = toys.source(train=rows, test=rows)._replace(
        tokens=lambda texts: {'text': np.arange(len(texts))[:, None]}, class_names=('a', 'b', 'c')
    )
    table = x + random.normal(size=x.shape)
    readouts = dict(embed=lambda b, **o: b['x'], embed_text=lambda b, **o: table[b['text'][:, 0]])
    return toys.subject(made, **readouts)[0], {}


def compared():
    """Pairs of rows, of which half are alike."""
    random, same = np.random.default_rng(7), np.arange(40) % 2 == 0
    x = random.normal(size=(40, 3)).astype('f')
    y = x + np.where(same, 1.0, 1.5)[:, None] * random.normal(size=(40, 3)).astype('f')
    rows = dict(x=x, y=y, same=same)
    return toys.subject(toys.source(train=rows, test=rows), encode=lambda b: b['x'])[0], {}


def foreseen(batch):
    """Latents [B, 6, 4] in slot 0, and worse and worse predictions of them from 1 and 2 before."""
    z = seeded(batch, (6, 4)) - 0.5
    told = [z] + [z + k * (seeded(batch, (6, 4))[:, ::-1] - 0.5) for k in (1, 2)]
    return np.stack([np.where(np.arange(6)[:, None] < k, 0, t) for k, t in enumerate(told)], 2)


def pictured(**readouts):
    rows = images()
    segments = (rows['x'] > 128).astype(np.uint8)
    made = toys.source(train=rows, test={**rows, 'mask': segments})._replace(classes=4)
    return toys.subject(made, **readouts)[0]


def lines_restored():
    x, ids = images()['x'], np.arange(40)[:, None] + np.arange(5)
    rows = dict(x=x, y=255 - x, text=ids % 4, text_length=1 + np.arange(40) % 5)
    who = toys.subject(
        toys.source(vocab=('ab', 'c', ' ', 'd'), train=rows, test=rows),
        translate=lambda b, **o: b['y'] / np.float32(127.5) - 1 + seeded(b, x.shape[1:]),
    )[0]
    return who, dict(reader=lambda x, rows: (rows['text'] + x[:, :1, 0, 0].astype(int)) % 5 - 1)


def featured(**options):
    who = pictured(encode=lambda b: np.asarray(encode(None, MODEL.state, {'x': b['x'] / 255.0})))
    return who._replace(model=MODEL), options


MODEL = with_a_model(toys.subject(toys.labeled())[0]).model
ACCURACY = {'accuracy', 'validation_accuracy'}
# evaluator -> a subject and options; its numbers that are means over rows
CASES = {
    'ahead': (
        lambda tmp: (pictured(foresee=foreseen), dict(among=8)),
        {'accuracy', 'accuracy_1', 'accuracy_2'},
    ),
    'analogies': (
        lambda tmp: words_of(tmp, ': a\nking queen man woman\nman woman boy girl\n: gram\n'
                                  'boy girl king queen\nqueen king girl boy'),
        {'accuracy', 'accuracy_semantic', 'accuracy_syntactic'},
    ),
    'alignment': (lambda tmp: lined(), {'position_error', 'position_spread', 'overlap'}),
    'annealed': (
        lambda tmp: (
            pictured(
                free_energy=lambda b: seeded(b, ()), log_z_weights=lambda b, **o: seeded(b, ())
            ),
            dict(runs=7, steps=3),
        ),
        {'nats', 'bits_per_dim'},
    ),
    'attention': (
        lambda tmp: (pictured(attend=lambda b, **o: seeded(b, (3, 4, 4))), {}),
        {'entropy', 'similarity', 'entropy_least', 'entropy_greatest', 'mass'},
    ),
    'bound': (
        lambda tmp: (pictured(bound=lambda b, **o: -seeded(b, ())), {}), {'nats', 'bits_per_dim'}
    ),
    'cluster': (
        lambda tmp: (pictured(assign=lambda b, **o: (b['index'] // 2) % 4), {}),
        {'purity', 'accuracy'},
    ),
    'cross_retrieval': (
        lambda tmp: paired(),
        {f'{kind}_recall_{k}' for kind in ('text', 'image') for k in (1, 5, 10)},
    ),
    'density': (
        lambda tmp: (pictured(log_prob=lambda b, **o: -seeded(b, ())), {}), {'nats', 'bits_per_dim'}
    ),
    'density_map': (
        lambda tmp: (
            toys.subject(plane(), log_prob=lambda b, **o: -seeded(b, ()))[0], dict(cells=0)
        ),
        {'nats', 'kl'},
    ),
    'error_rate': (
        lambda tmp: (pictured(classify=lambda b, **o: b['index'] * b['label'] % 4), {}), {'error'}
    ),
    'evidence': (
        lambda tmp: (pictured(log_weights=lambda b, *, samples, **o: seeded(b, samples)), {}),
        {'importance_weighted', 'elbo', 'bits_per_dim', 'effective'},
    ),
    'few_shot': (
        lambda tmp: featured(ways=2, shots=(2, 1), queries=3, episodes=40),
        {'accuracy', 'accuracy_1_shot'},
    ),
    'filters': (lambda tmp: featured(count=3), {'active'}),
    'fine_tune': (lambda tmp: featured(steps=3, view=dict(name='identity')), {'accuracy'}),
    'kmeans': (lambda tmp: featured(starts=2, rounds=3), {'purity', 'accuracy'}),
    'knn': (
        lambda tmp: featured(k=5, also=((7, 0.1),)),
        {f'accuracy{k}{w}' for k in ('', '_k7') for w in ('', '_whitened')},
    ),
    'latents': (
        lambda tmp: (pictured(
            encode=lambda b: b['x'].reshape(-1, 64) / 255.0,
            decode=lambda b: 2 * b['z'].reshape(-1, 8, 8, 1) ** 2 - 1,
        ), dict(judge_steps=3)),
        {'length', 'jump', 'distance', 'valid'},
    ),
    'linear_probe': (lambda tmp: featured(l2=(0.1, 0.01)), ACCURACY),
    'linear_svm': (lambda tmp: featured(l2=(0.1, 0.01)), ACCURACY),
    'mlp_probe': (lambda tmp: featured(hidden=4, epochs=2, batch=8), ACCURACY),
    'out_of_class': (
        lambda tmp: (pictured(free_energy=lambda b: b['x'].mean((1, 2, 3))), {}), {'auc'}
    ),
    'perplexity': (
        lambda tmp: (
            toys.subject(text(), token_log_prob=lambda b, **o: -seeded(b, 8))[0], {}
        ),
        {'nats_per_character', 'bits_per_character'},
    ),
    'plane': (lambda tmp: featured(k=3), {'accuracy'}),
    'rank': (lambda tmp: featured(), set()),
    'reconstruction': (
        lambda tmp: (pictured(reconstruct=masked), {}), {'mse', 'mse_of_means', 'removed', 'masked'}
    ),
    'restoration': (
        lambda tmp: lines_restored(),
        {'f1', 'mse', 'character_error', 'invented', 'clean_error'},
    ),
    'retrieval': (
        lambda tmp: featured(), {'mean_average_precision', 'recall_1', 'recall_5', 'recall_10'}
    ),
    'samples': (
        lambda tmp: (
            pictured(sample=lambda b, **o: 2 * seeded(b, (8, 8, 1)) - 1), dict(judge_steps=3)
        ),
        {'energy_score', 'sharpness', 'confident', 'precision', 'recall', 'judge_accuracy'},
    ),
    'segmentation': (
        lambda tmp: (pictured(attend=lambda b, **o: seeded(b, (3, 4, 4))), {}),
        {'jaccard', 'jaccard_best_head'},
    ),
    'sgd_probe': (
        lambda tmp: featured(epochs=1, batch=8, view=dict(name='identity')), ACCURACY
    ),
    'transcription': (
        lambda tmp: (
            toys.subject(text(), transcribe=lambda b, **o: np.roll(b['text'], 1, 0))[0], {}
        ),
        {'character_error', 'word_error', 'exact'},
    ),
    'verification': (lambda tmp: compared(), {'error'}),
    'word_similarity': (
        lambda tmp: words_of(tmp, 'king queen 8\nman woman 7\nking boy 1\ngirl queen 2.5'), set()
    ),
    'zero_shot': (
        lambda tmp: paired(), {'accuracy', 'accuracy_top5', 'single_1', 'single_mean'}
    ),
}  # fmt: skip


# ---- rows


def test_each_evaluator_has_a_case():
    assert set(CASES) == set(OFFERED)


@pytest.mark.parametrize('name', CASES)
def test_a_number_is_the_mean_of_its_rows(name, tmp_path):
    make, averages = CASES[name]
    who, options = make(tmp_path)
    scores = toys.scores(name, who, **options)
    assert set(scores.rows) == averages
    for metric, rows in scores.rows.items():
        assert rows.ndim == 1 and len(rows) > 1 and np.isfinite(rows).all()
        assert rows.mean() == pytest.approx(scores.numbers[metric], rel=1e-12, abs=1e-12)
    assert all(np.isfinite(value) for value in scores.numbers.values())
    spread = {metric for metric, rows in scores.rows.items() if rows.std() > 0}
    assert not averages or spread & set(OFFERED[name].shown), 'of the toy, every row is the same'
    # of rows the core makes it; only a correlation has none
    assert ('standard_error' in scores.numbers) == (name == 'word_similarity')


def test_a_text_counts_by_its_words():
    """Of known words: two of four and one of one are three of five."""
    vocab = tuple(' abc')

    def ids(line):
        return np.array([vocab.index(c) for c in line])

    lines = [ids('a aa cc bb cb a'), ids('a aa ccccccccc')]
    made = toys.source(
        vocab, train=dict(x=ids('c aa bb a aa')[None]), test=dict(x=np.zeros((2, 5)))
    )
    longest = max(map(len, lines))
    lines = np.array([np.pad(line, (0, longest - len(line))) for line in lines])
    scores = toys.scores('samples', toys.subject(made, sample=lambda b: lines[b['index']])[0])
    assert scores.numbers['words'] == 5
    np.testing.assert_allclose(scores.rows['known_words'], [2 * 2 / 5, 1 * 2 / 5])
    assert scores.numbers['distinct_words'] == 4 / 5


# ---- what readouts are asked


@pytest.mark.parametrize('name', CASES)
def test_asks_says_what_the_readouts_are_asked(name, tmp_path):
    who, options = CASES[name][0](tmp_path)
    if 'options' in options_of(name):
        options = {**options, 'options': {'extra': 3}}
    asked = {}

    def recorded(readout, ask):
        def note(batch, **given):
            asked.setdefault(readout, given)
            return ask(batch, **given)

        return note

    who = who._replace(readouts={n: recorded(n, ask) for n, ask in who.readouts.items()})
    toys.score(name, who, **options)
    said = OFFERED[name].asks({**options_of(name), **options})
    assert set(said) <= set(OFFERED[name].needs)
    assert asked == {need: dict(said.get(need, {})) for need in OFFERED[name].needs}


def test_what_is_asked_can_be_traced():
    """As a job does it before the first step."""
    batch = {'x': jax.ShapeDtypeStruct((4, 7), 'float32')}
    log_weights = lambda key, state, b, *, samples: jnp.zeros((len(b['x']), samples))  # noqa: E731
    asks = OFFERED['evidence'].asks(options_of('evidence'))
    assert readouts.traced('log_weights', log_weights, {}, batch, **asks['log_weights']).shape == (
        4,
        64,
    )
    flat = lambda key, state, b, *, samples: jnp.zeros(len(b['x']))  # noqa: E731
    with pytest.raises(TypeError, match='log_weights'):
        readouts.traced('log_weights', flat, {}, batch, **asks['log_weights'])
