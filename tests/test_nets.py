"""Nets: the named set, layers against lax's, published sizes, and what each net promises."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import variables
from jax import lax
from jax.extend.core import jaxprs_in_params

from ssljax import nets
from ssljax.names import Mistake
from ssljax.nets import Nets, make
from ssljax.nets.layers import Dense, convolve, convolve_transpose, initializer, rms
from ssljax.nets.resnet import ResNet
from ssljax.nets.transformer import rotate

random = np.random.default_rng(0)
key = jax.random.key(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(random.normal(size=shape), jnp.float32)


def close(a, b, tolerance=1e-5):
    """Within a share of the largest entry: sums of many terms lose digits in the small ones."""
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * float(jnp.abs(y).max() + 1e-9))


def count(spec, x, **given):
    module = make(spec, **given)
    return sum(a.size for a in jax.tree.leaves(jax.eval_shape(module.init, key, x)['params']))


# ---- layers


SHAPES = [  # batch, extent, Cin, Cout, kernel, stride, padding
    (5, 9, 3, 4, 3, 2, 'SAME'),
    (3, 32, 2, 3, 3, 1, 'SAME'),
    (3, 12, 2, 3, 4, 2, 'SAME'),
    (2, 15, 2, 3, 7, 2, 3),
    (4, 8, 3, 4, 1, 2, 0),
    (4, 4, 3, 4, 3, 2, 'SAME'),
    (3, 10, 2, 3, 3, 3, 'VALID'),
    (9, 32, 17, 16, 3, 1, 'SAME'),  # two images at a time, the last chunk filled; many channels
    (3, 9, 16, 5, 3, 1, 2),  # few pixels: one product for the kernel's gradient
    (2, 8, 20, 7, 2, 1, 'VALID'),
    (5, 48, 16, 3, 3, 2, 'SAME'),  # three at a time
    (6, 32, 2, 17, 2, 1, 'VALID'),  # two at a time, none filled
    (2, 18, 3, 4, 1, 1, 0),
    (2, 17, 2, 3, 3, 1, 3),  # more padding than the kernel covers
]


@pytest.mark.parametrize('B, H, C, D, k, stride, padding', SHAPES)
def test_convolution_equals_lax_to_second_order(B, H, C, D, k, stride, padding):
    x, w = normal(B, H, H, C), normal(k, k, C, D)

    def ours(x, w):
        return convolve(x, w, stride=stride, padding=padding, native=False)

    def plain(x, w):
        pads = padding if isinstance(padding, str) else [(padding, padding)] * 2
        axes = ('NHWC', 'HWIO', 'NHWC')
        return lax.conv_general_dilated(x, w, (stride, stride), pads, dimension_numbers=axes)

    def three(f):
        first = jax.grad(lambda x, w: jnp.sin(f(x, w)).sum(), (0, 1))
        second = jax.grad(lambda x, w: sum(jnp.square(g).sum() for g in first(x, w)), (0, 1))
        return jax.jit(lambda x, w: (f(x, w), first(x, w), second(x, w)))(x, w)

    close(three(ours), three(plain))


def test_convolution_under_vmap_and_bfloat16():
    x, w = normal(2, 3, 8, 8, 2), normal(2, 3, 3, 2, 4)
    f = jax.grad(lambda x, w: jnp.sin(convolve(x, w, stride=2, native=False)).sum(), (0, 1))
    f = jax.jit(f)
    close(jax.vmap(f)(x, w), jax.tree.map(lambda *a: jnp.stack(a), f(x[0], w[0]), f(x[1], w[1])))
    half = f(x[0].astype(jnp.bfloat16), w[0].astype(jnp.bfloat16))
    assert all(g.dtype == jnp.bfloat16 for g in half)
    close(jax.tree.map(lambda g: g.astype(jnp.float32), half), f(x[0], w[0]), 0.03)


@pytest.mark.parametrize('stride', [1, 2])
def test_convolution_in_bfloat16_adds_up_in_float32(stride):
    x, w = normal(2, 20, 20, 16).astype(jnp.bfloat16), normal(3, 3, 16, 8).astype(jnp.bfloat16)

    def three(x, w, native):
        y, back = jax.vjp(lambda x, w: convolve(x, w, stride=stride, native=native), x, w)
        return y, *back(jnp.ones_like(y))

    exact = jax.jit(three, static_argnums=2)(x.astype(jnp.float32), w.astype(jnp.float32), True)
    for ours, plain in zip(jax.jit(three, static_argnums=2)(x, w, False), exact, strict=True):
        assert ours.dtype == jnp.bfloat16
        # no more than the rounding of the result itself
        close(ours.astype(jnp.float32), plain, 2**-8)


def test_convolution_of_no_rows():
    y = jax.jit(lambda x, w: convolve(x, w, stride=2, native=False))(
        normal(0, 8, 8, 3), normal(3, 3, 3, 4)
    )
    assert y.shape == (0, 4, 4, 4)


def test_transposed_convolution_equals_lax():
    x, w = normal(3, 5, 6, 4), normal(4, 4, 4, 3)

    def three(f):
        first = jax.grad(lambda x, w: jnp.sin(f(x, w)).sum(), (0, 1))
        second = jax.grad(lambda x, w: sum(jnp.square(g).sum() for g in first(x, w)), (0, 1))
        return jax.jit(lambda x, w: (f(x, w), first(x, w), second(x, w)))(x, w)

    plain = three(lambda x, w: lax.conv_transpose(x, w, (2, 2), 'SAME'))
    close(three(lambda x, w: convolve_transpose(x, w, native=False)), plain)


@pytest.mark.parametrize('shape', [(5, 3), (2, 4, 3), (2, 4, 5, 3)])
def test_dense_equals_linen(shape):
    x = normal(*shape)
    ours, theirs = Dense(7), nn.Dense(7)
    drawn = variables(ours, x)
    close(jax.jit(ours.apply)(drawn, x), jax.jit(theirs.apply)(drawn, x))
    kernel = jax.eval_shape(ours.init, key, x)['params']['kernel']
    assert kernel.shape == (3, 7) and kernel.dtype == jnp.float32


def test_initializers():
    def draw(name):
        """With a fan in of 576 and a fan out of 1152."""
        return np.asarray(jax.jit(lambda: initializer(name)(key, (3, 3, 64, 128)))())

    for name, expected in dict(lecun=1 / 576, he=2 / 576, he_out=2 / 1152, zeros=0).items():
        np.testing.assert_allclose(draw(name).var(), expected, rtol=0.05)
    np.testing.assert_allclose(np.abs(draw('uniform')).max(), 1 / 24, rtol=0.01)
    np.testing.assert_allclose(draw(0.3).std(), 0.3, rtol=0.05)
    with pytest.raises(Mistake, match='did you mean lecun'):
        initializer('lecunn')


# ---- published sizes


@pytest.mark.parametrize(
    'spec, shape, published',
    [
        (dict(name='resnet18', classes=1000), (1, 64, 64, 3), 11_689_512),
        # DeiT's, without the head: 1000 (width + 1) less
        (dict(name='vit_tiny'), (1, 224, 224, 3), 5_717_416 - 193_000),
        (dict(name='vit_small'), (1, 224, 224, 3), 22_050_664 - 385_000),
        (dict(name='vit_base'), (1, 224, 224, 3), 86_567_656 - 769_000),
        (dict(name='resnet34', classes=1000), (1, 64, 64, 3), 21_797_672),
        (dict(name='resnet50', classes=1000), (1, 64, 64, 3), 25_557_032),
        # cifar stem: 3x3x3 instead of 7x7x3 to 64 channels, and no classes
        (dict(name='resnet18', stem='cifar'), (1, 32, 32, 3), 11_689_512 - 513_000 - 40 * 192),
        (dict(name='dcgan_generator', size=64, channels=3), (1, 100), 3_576_704),
        (dict(name='dcgan_critic', norm='batch'), (1, 64, 64, 3), 2_765_568),
    ],
)
def test_params_as_published(spec, shape, published):
    assert count(spec, np.zeros(shape, 'f')) == published


def test_params_of_transformers():
    tokens = np.zeros((1, 8), int)
    assert count(dict(name='gpt2'), tokens) == 124_439_808
    # four blocks of 12 width^2, embedding and output
    assert count(dict(name='transformer'), tokens, vocab=65) == 4 * 12 * 128**2 + 2 * 65 * 128


# ---- the named set


def pair():
    projector = dict(name='mlp', dims=(16, 4), norm='batch', dropout=0.5)
    return Nets(encoder=dict(name='conv', widths=(4, 8)), projector=projector, dtype='float32')


def forward(net, x):
    return net.projector(net.encoder(x))


def begin(nets, forward, x):
    """(key) -> params, statistics and output, as one program."""
    return jax.jit(lambda key: nets.init(key, forward, x))


def test_init_gives_params_stats_and_output():
    x = normal(3, 8, 8, 1)
    start = begin(pair(), forward, x)
    params, stats, out = start(key)
    assert set(params) == set(stats) == {'encoder', 'projector'} and out.shape == (3, 4)
    close(jax.jit(lambda x: forward(pair()(params, stats), x))(x), out)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves((params, stats)))
    # the same at any later time, and other weights from another key
    assert start.lower(key).as_text() == begin(pair(), forward, x).lower(key).as_text()
    other = start(jax.random.key(1))[0]
    assert not np.array_equal(
        other['encoder']['Conv_0']['kernel'], params['encoder']['Conv_0']['kernel']
    )


def test_init_makes_nets_in_any_order_of_calls_and_only_once():
    x = normal(2, 3)
    two = Nets(a=dict(name='mlp', dims=(3,)), b=dict(name='mlp', dims=(3,)))
    ab = begin(two, lambda net, x: net.b(net.a(net.a(x))), x)(key)[0]
    ba = begin(two, lambda net, x: net.a(net.b(x)), x)(key)[0]
    close(ab, ba, 0)
    assert not np.array_equal(ab['a']['Dense_0']['kernel'], ab['b']['Dense_0']['kernel'])
    with pytest.raises(ValueError, match='never calls: b'):
        begin(two, lambda net, x: net.a(x), x)(key)


def test_statistics_are_recorded_in_training_only():
    x = normal(64, 8, 8, 1) * 3 + 1
    nets_ = Nets(encoder=dict(name='conv', widths=(4,)))
    params, stats, _ = begin(nets_, lambda net, x: net.encoder(x), x)(key)

    @jax.jit
    def two(params, stats, x):
        net = nets_(params, stats)
        net.encoder(x)
        assert net.stats is stats
        net = nets_(params, stats, train=True)
        net.encoder(x)
        once = net.stats
        net.encoder(x)  # a second call goes on from the first
        axes, kernel = ('NHWC', 'HWIO', 'NHWC'), params['encoder']['Conv_0']['kernel']
        y = lax.conv_general_dilated(x, kernel, (2, 2), 'SAME', dimension_numbers=axes)
        return y, once, net.stats

    y, once, twice = jax.device_get(two(params, stats, x))
    new = once['encoder']['batch_stats']['BatchNorm_0']
    close(new['mean'], 0.1 * y.mean((0, 1, 2)))
    close(new['var'], 0.9 + 0.1 * y.var((0, 1, 2)))
    close(twice['encoder']['batch_stats']['BatchNorm_0']['mean'], 0.19 * y.mean((0, 1, 2)))


def test_statistics_of_a_sharded_batch_are_global():
    if jax.device_count() < 8:
        pytest.skip('needs 8 (simulated) devices')
    from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(jax.devices()[:8]), ('data',), axis_types=(AxisType.Auto,))
    x = normal(16, 8, 8, 1) + np.arange(16, dtype='f')[:, None, None, None]
    nets_ = Nets(encoder=dict(name='conv', widths=(4,)))
    params, stats, _ = begin(nets_, lambda net, x: net.encoder(x), x)(key)

    def loss(params, x):
        net = nets_(params, stats, train=True)
        return jnp.sin(net.encoder(x)).mean(), net.stats

    f = jax.jit(jax.value_and_grad(loss, has_aux=True))
    close(f(params, jax.device_put(x, NamedSharding(mesh, PartitionSpec('data')))), f(params, x))


def test_dropout_keys():
    x = normal(4, 8, 8, 1)
    params, stats, _ = begin(pair(), forward, x)(key)

    @jax.jit
    def run(key):
        net = pair()(params, stats, train=True, key=key)
        h = net.encoder(x)
        return net.projector(h), net.projector(h)

    first, second = run(key)
    assert not np.allclose(first, second)  # every call draws anew
    np.testing.assert_array_equal(run(key), (first, second))
    assert not np.allclose(run(jax.random.key(1))[0], first)


def test_train_reaches_only_the_modules_that_take_it():
    class Plain(nn.Module):
        def __call__(self, x):
            return x

        def twice(self, x, train=False):
            return 2 * x if train else x

    nets_ = Nets(plain=Plain())
    params, stats, out = nets_.init(key, lambda net, x: net.plain(x), jnp.ones(3))
    assert params == stats == {}
    net = nets_(params, stats, train=True)
    np.testing.assert_array_equal(net.plain(out), 1)
    np.testing.assert_array_equal(net.plain(out, method='twice'), 2)
    np.testing.assert_array_equal(net.plain(out, method='twice', train=False), 1)


def test_mistakes_say_what_is_offered():
    with pytest.raises(AttributeError, match="no net 'encodr'; there are: encoder, projector"):
        _ = pair()({}).encodr
    with pytest.raises(Mistake, match=r"unknown net 'resnet19'.*did you mean resnet18"):
        Nets(encoder=dict(name='resnet19'))
    with pytest.raises(Mistake, match=r"'mlp' has no option 'dim' .*did you mean dims"):
        make(dict(name='mlp', dim=3))
    with pytest.raises(Mistake, match='type dict'):
        Nets(encoder='resnet18')
    with pytest.raises(Mistake, match='another name'):
        Nets(stats=dict(name='mlp'))
    conv = Nets(encoder=dict(name='conv'))
    with pytest.raises(Mistake, match='ConvNet does not give tokens, .* nets that do: vit, vit_ba'):
        conv.init(jax.random.key(0), lambda net, x: net.encoder(x, method='tokens'), 0)
    for spec in (
        dict(name='transformer'),
        dict(name='transformer', vocab=5, width=10),
        dict(name='dcgan_generator', size=28),
        dict(name='conv', pool='max'),
        dict(name='conv', norm='bach'),
        dict(name='conv', activation='rleu'),
        dict(name='resnet18', stem='small'),
        dict(name='mlp', dims=()),
        dict(name='vit', width=30),
        dict(name='vit', size=100),
        dict(name='vit', positions='fixed'),
        dict(name='vit', class_token=False),
    ):
        with pytest.raises(Mistake) as mistake:
            make(spec)
        assert '\n' not in str(mistake.value)


INPUTS = {
    'image': (np.zeros((2, 32, 32, 3)),),
    'vector': (np.zeros((2, 8)),),
    'tokens': (np.zeros((2, 8), int),),
    'frames': (np.zeros((2, 5, 8)),),
    'patches': (np.zeros((2, 5, 8)), np.zeros((2, 4), int), (4, 4)),
    'pixels': (np.zeros((2, 784)),),
}


@pytest.mark.parametrize('name', nets.offered())
def test_every_net_computes_in_its_dtype_and_keeps_float32_params(name):
    """Of one block, else at its defaults, on the first of INPUTS that it takes; only traced."""
    options = dict(dtype='bfloat16', vocab=11, patch=8, depth=1, blocks=1, couplings=2)
    module = make(dict(name=name), **options)
    for x in INPUTS.values():
        try:
            init = lambda key, x=x: module.init_with_output(key, *x)  # noqa: E731
            out, drawn = jax.eval_shape(init, key)
        except (TypeError, ValueError, IndexError, AttributeError, Mistake):
            continue
        break
    else:
        pytest.fail(f'{name} takes none of {list(INPUTS)}: add what it takes')
    leaves = jax.tree.leaves(out)  # scores, and all of a flow but the nets inside: float32
    assert {a.dtype.name for a in leaves} <= {'bfloat16', 'float32'}
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(drawn))

    def total(v):
        return sum(a.astype(jnp.float32).sum() for a in jax.tree.leaves(module.apply(v, *x)))

    program = list(equations(jax.make_jaxpr(jax.grad(total))(drawn).jaxpr))
    assert any(half(e) for e in program)
    sums = [str(e).split('\n')[0] for e in program if sums_halves(e)]
    assert not sums, f'gradients are summed over rows in bfloat16: {sums}'


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


def half(equation):
    """Whether its first argument is bfloat16."""
    first = equation.invars[0].aval if equation.invars else None
    return getattr(first, 'dtype', None) == jnp.bfloat16


def sums_halves(equation):
    """Whether it is a sum over the first axis, or a scattered sum, whose terms are bfloat16: these
    stop growing after some 256 terms. (Matrix products and convolutions add in float32.)"""
    over_rows = equation.primitive.name == 'reduce_sum' and 0 in equation.params['axes']
    scatters = equation.primitive.name == 'scatter-add'  # in each row, or over rows
    scatters = scatters and not equation.params['dimension_numbers'][3]
    return (over_rows or scatters) and half(equation)


def test_a_bias_in_bfloat16_counts_every_row():
    x = np.ones((4096, 1), 'f')
    for module in (Dense(1, dtype=jnp.bfloat16), Dense(1)):
        total = lambda p, module=module: module.apply(p, x).astype(jnp.float32).sum()  # noqa: E731
        slope = jax.jit(jax.grad(total))(variables(module, x))
        assert float(slope['params']['bias'][0]) == 4096


# ---- what each net promises


def test_shapes():
    def shape(spec, *size, dtype=float, **given):
        module = make(spec, **given)
        return jax.eval_shape(module.init_with_output, key, np.zeros(size, dtype))[0].shape

    assert shape(dict(name='conv'), 2, 32, 32, 1) == (2, 512)
    assert shape(dict(name='conv', pool='mean'), 2, 32, 32, 1) == (2, 128)
    assert shape(dict(name='mlp', dims=(9, 5), flatten=True), 2, 4, 4, 1) == (2, 5)
    assert shape(dict(name='resnet18', stem='cifar', width=8), 2, 32, 32, 1) == (2, 64)
    assert shape(dict(name='resnet50', width=8), 2, 64, 64, 3) == (2, 256)
    assert shape(dict(name='dcgan_generator', width=8), 2, 10) == (2, 32, 32, 1)
    assert shape(dict(name='dcgan_critic', width=8), 2, 32, 32, 3) == (2,)


@pytest.mark.parametrize('name, flat', [('conv', True), ('conv', False), ('resnet18', False)])
def test_features_are_those_of_places_side_by_side_or_their_mean(name, flat):
    own = dict(widths=(4, 6), pool='flatten' if flat else 'mean') if name == 'conv' else {}
    module, x = make(dict(name=name, **own or dict(stem='cifar', width=2))), normal(2, 16, 16, 3)
    weights = variables(module, x)
    of_places, features = (module.apply(weights, x, method=m) for m in ('places', '__call__'))
    assert of_places.shape == ((2, 4, 4, 6) if name == 'conv' else (2, 2, 2, 16))
    close(features, of_places.reshape(2, -1) if flat else of_places.mean((1, 2)))


@pytest.mark.parametrize('bottleneck', [False, True])
def test_a_residual_block_starts_as_the_identity(bottleneck):
    x = normal(2, 8, 8, 3)

    def net(depth, zero_last=False):
        return ResNet((depth,), bottleneck, 'cifar', 4, 'batch', zero_last, 0, None)

    @jax.jit
    def features(variables, x):  # one block reads its own params and leaves those of the second
        return net(2).apply(variables, x), net(1).apply(variables, x)

    for zero_last in (True, False):
        start = jax.jit(net(2, zero_last).init)(key, x)
        two, one = map(np.asarray, features(start, x))
        assert np.abs(one).max() > 0.01  # what the block hands on
        if zero_last:
            close(two, one, 0)
        else:
            assert np.abs(two - one).max() > 0.01


def test_layer_norm_of_the_critic_is_per_example():
    critic = make(dict(name='dcgan_critic', width=4, norm='layer'))
    x = normal(4, 16, 16, 1)
    drawn, apply = variables(critic, x), jax.jit(critic.apply)
    parts = [apply(drawn, np.asarray(x)[i : i + 1]) for i in range(4)]
    close(np.concatenate(parts), apply(drawn, x))


def test_rotary_scores_depend_on_distance_alone():
    q, k = normal(1, 1, 2, 8), normal(1, 1, 2, 8)

    @jax.jit
    def score(i, j):
        return (rotate(q, i[None]) * rotate(k, j[None])).sum(-1)

    at = np.arange(20)
    close(score(at[3], at[1]), score(at[13], at[11]), 1e-4)
    assert np.abs(score(at[3], at[1]) - score(at[3], at[2])).max() > 1e-3
    close(rotate(q, jnp.array([0])), q)
    x = normal(2, 3, 4)
    close(jnp.square(rms(x)).mean(-1), jnp.ones((2, 3)))
    close(rms(7 * x), rms(x))


@pytest.fixture(scope='module', params=['transformer', 'gpt2'])
def language(request):
    size = dict(vocab=11, width=16, depth=2, heads=2, context=12)
    module = make(dict(name=request.param, **size))
    tokens = np.random.default_rng(0).integers(0, 11, (2, 9))
    return variables(module, tokens), tokens, jax.jit(module.apply, static_argnames='method')


def test_causal(language):
    drawn, tokens, apply = language

    def other(*places):
        changed = tokens.copy()
        changed[:, places] = (tokens[:, places] + 1) % 11
        return np.asarray(apply(drawn, changed))

    logits, later = other(), other(5, 6, 7, 8)
    close(later[:, :5], logits[:, :5])
    assert np.abs(later[:, 5:] - logits[:, 5:]).max() > 0.01
    assert (np.abs(other(0) - logits).max(-1) > 1e-5).all()  # all later positions see the first


def test_features_give_the_logits(language):
    drawn, tokens, apply = language
    h, params = apply(drawn, tokens, method='features'), drawn['params']
    out = params['out']['kernel'] if 'out' in params else params['embed']['embedding'].T
    close(h @ out, apply(drawn, tokens))


def test_attention_in_numpy(language):
    """One block of the recipe, written out in float64."""
    drawn, tokens, apply = language
    if 'norm' in drawn['params']:
        pytest.skip('the recipe only')
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), drawn['params'])

    def unit(x):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)

    def turn(x):  # [T, e]: pairs (i, i + e / 2) as complex numbers
        half = x.shape[-1] // 2
        angle = np.arange(len(x))[:, None] * 10000.0 ** (-np.arange(half) / half)
        z = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angle)
        return np.concatenate([z.real, z.imag], -1)

    x = p['embed']['embedding'][np.asarray(tokens[0])]
    for name in ('blocks_0', 'blocks_1'):
        b = {k: v['kernel'] for k, v in p[name].items()}
        q, k, v = (unit(x) @ b[name] for name in ('query', 'key', 'value'))
        heads = []
        for e in (slice(0, 8), slice(8, 16)):
            scores = 1.2 * turn(unit(q[:, e])) @ turn(unit(k[:, e])).T / np.sqrt(8)
            weight = np.exp(scores) * np.tri(len(x))
            heads.append(weight / weight.sum(-1, keepdims=True) @ v[:, e])
        x = x + np.concatenate(heads, -1) @ b['attend_out']
        x = x + np.maximum(unit(x) @ b['mlp_in'], 0) ** 2 @ b['mlp_out']
    close(apply(drawn, tokens)[0], unit(x) @ p['out']['kernel'], 1e-4)


def test_a_context_too_long_is_a_mistake(language):
    drawn, _, apply = language
    with pytest.raises(Mistake, match='type context=13'):
        apply(drawn, np.zeros((1, 13), int))
