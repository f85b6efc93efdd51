"""Flows: layers are inverted, log determinants are those of their Jacobians; exact densities."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ssljax import nets
from ssljax.losses import change_of_variables
from ssljax.names import Mistake
from ssljax.nets import flow
from ssljax.nets.flow import Actnorm, Chain, Coupling, FactorOut, Logit, Triangular

KEY = jax.random.key(0)
CLASSES = {
    name: kind
    for name, kind in vars(flow).items()
    if inspect.isclass(kind) and issubclass(kind, nn.Module) and hasattr(kind, 'inverse')
}
FLOWS = {
    name: make
    for name, make in nets.offered().items()
    if inspect.getmodule(make) is flow
}  # fmt: skip


def alone(kind):
    """Whether a layer can be made without options."""
    return all(
        field.default is not inspect.Parameter.empty
        for name, field in inspect.signature(kind).parameters.items()
        if name not in ('parent', 'name')
    )


def cases():
    """Every layer that stands alone, on images and on vectors where it takes them; every flow."""
    for name, kind in CLASSES.items():
        if alone(kind):
            yield name, kind(), (4, 2, 3)
            if name not in ('Squeeze',):
                yield f'{name} of vectors', kind(), (5,)
    yield 'Actnorm of entries', Actnorm(each=True), (2, 2, 3)
    yield 'flipped checkerboard', Coupling('checkerboard', True), (2, 4, 3)
    for flip in (False, True):
        yield f'channels {flip}', Coupling('channels', flip), (2, 4, 3)
        yield f'checkerboard {flip} of vectors', Coupling('checkerboard', flip, False), (3,)
    image, vector = FLOWS['flow_image'], FLOWS['flow_vector']
    for coupling in ('affine', 'additive'):
        yield f'flow_image {coupling}', image(shape=(2, 4, 1), coupling=coupling), (2, 4, 1)
    yield 'one scale', image(shape=(3, 5, 1), scales=1, width=4), (3, 5, 1)
    yield 'flow_vector affine', vector(shape=(2, 3, 1), couplings=2, linear=True), (2, 3, 1)
    yield 'flow_vector additive', vector(shape=(5,), couplings=3, coupling='additive'), (5,)


CASES = {name: (module, shape) for name, module, shape in cases()}


def begun(module, x, moved=0.3):
    """Variables of its shapes off the start, where a coupling does nothing; drawn by NumPy."""
    random = np.random.default_rng(1)

    def draw(path, leaf):
        fan = leaf.size // leaf.shape[-1] if leaf.ndim > 1 else 1
        return np.float32(
            (path[-1].key == 'bound') + moved / fan**0.5 * random.normal(size=leaf.shape)
        )

    shapes = jax.eval_shape(module.init, KEY, x)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def apply(module, variables, x):
    return jax.jit(module.apply)(variables, x)


def rows(count, *shape, seed=2):
    """Within (0, 1), where a logit is defined, too."""
    return np.random.default_rng(seed).uniform(0.05, 0.95, (count, *shape)).astype(np.float32)


@pytest.mark.parametrize('name', CASES)
def test_a_layer_is_inverted_and_its_log_det_is_that_of_its_jacobian(name):
    module, shape = CASES[name]
    x = rows(3, *shape)
    variables = begun(module, x)
    ways = np.eye(x[0].size, dtype=np.float32).reshape(-1, 1, *shape).repeat(3, 1)

    @jax.jit
    def told(variables, x):
        (z, log_det), slope = jax.linearize(lambda x: module.apply(variables, x), x)
        back = module.apply(variables, z, method='inverse')
        return z, log_det, back, jax.vmap(lambda way: slope(way)[0])(ways)

    z, log_det, back, matrix = told(variables, x)
    assert log_det.shape == (3,) and z.size == x.size and z.dtype == log_det.dtype == jnp.float32
    assert np.abs(back - x).max() < 1e-4
    matrix = np.asarray(matrix, np.float64).reshape(len(ways), 3, -1).swapaxes(0, 1)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(matrix)[1], rtol=1e-4, atol=1e-4)


def test_a_flow_of_three_scales_is_one_of_two_inside():
    whole = FLOWS['flow_image'](shape=(8, 4, 2), scales=3, width=4)
    part = FLOWS['flow_image'](shape=(4, 2, 4), scales=2, width=8)
    assert kinds(whole.layers[-1].rest) == kinds(part)
    assert kinds(whole.layers[-1].rest.layers[-1].rest) == kinds(part.layers[-1].rest)
    shapes = jax.eval_shape(lambda: whole.init_with_output(KEY, rows(3, 8, 4, 2))[0])
    assert [leaf.shape for leaf in shapes] == [(3, 64), (3,)]


def test_every_layer_is_in_a_case():
    def kinds(module):
        yield type(module).__name__
        for field in vars(module).values():
            for part in field if isinstance(field, tuple) else (field,):
                if isinstance(part, nn.Module) and part is not module.parent:
                    yield from kinds(part)

    seen = {kind for module, _ in CASES.values() for kind in kinds(module)}
    assert set(CLASSES) <= seen and len(CLASSES) >= 7


@pytest.mark.parametrize('module', [Actnorm(), Actnorm(each=True), Triangular()])
def test_the_first_batch_comes_out_standard(module):
    x = 3 + 2 * np.random.default_rng(0).normal(size=(64, 2, 2, 3)) * np.arange(1, 4)
    x = np.float32(x)
    (z, _), here = jax.jit(module.init_with_output)(KEY, x)
    axes = 0 if getattr(module, 'each', False) else (0, 1, 2)
    np.testing.assert_allclose(z.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axes), 1, atol=1e-5)
    if jax.device_count() >= 8:  # the batch is the global one
        mesh = Mesh(np.array(jax.devices()[:8]), ('data',), axis_types=(AxisType.Auto,))
        cut = jax.device_put(x, NamedSharding(mesh, PartitionSpec('data')))
        there = jax.jit(module.init)(KEY, cut)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), there, here)


def test_a_flow_starts_as_its_actnorms():
    """Couplings are the identity at first, so nothing is far from normal at step 0."""
    x = np.float32(5 + 2 * np.random.default_rng(0).normal(size=(256, 3)))
    module = FLOWS['flow_vector'](shape=(3,), couplings=3, width=8)
    (z, log_det), _ = jax.jit(module.init_with_output)(KEY, x)
    np.testing.assert_allclose(z, (x - x.mean(0)) / x.std(0), atol=1e-4)
    np.testing.assert_allclose(log_det, -np.log(x.std(0)).sum() + np.zeros(256), atol=1e-4)


# ---- exact densities


def log_p(module, variables, x):
    z, log_det = module.apply(variables, x)
    return -change_of_variables(z, log_det)


def test_a_linear_flow_is_the_normal_of_its_matrix():
    """x = mean + z A^-1 with z ~ N(0, 1): the density of N(mean, (A^T)^-1 A^-1)."""
    random = np.random.default_rng(0)
    root, mean = np.tril(random.normal(size=(3, 3))) + 2 * np.eye(3), random.normal(size=3)
    module = FLOWS['flow_vector'](shape=(3,), couplings=0, linear=True)
    x = np.float32(random.normal(size=(20, 3)))
    variables = jax.eval_shape(module.init, KEY, x)
    matrix = np.linalg.inv(root).T  # z = (x - mean) matrix, upper triangular
    new = dict(log_scale=np.log(np.diag(matrix)), above=matrix, shift=-mean)
    (path,) = variables['params']
    assert {k: v.shape for k, v in new.items()} == {
        k: v.shape for k, v in variables['params'][path].items()
    }
    variables = {'params': {path: {k: np.float32(v) for k, v in new.items()}}}
    found = jax.jit(lambda x: log_p(module, variables, x))(x)
    expected = scipy.stats.multivariate_normal(mean, root @ root.T).logpdf(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('coupling', ['affine', 'additive'])
def test_the_density_of_a_flow_sums_to_one(coupling):
    module = FLOWS['flow_vector'](couplings=4, width=8, coupling=coupling)
    variables = begun(module, rows(4, 2), moved=0.4)
    side = np.linspace(-12, 12, 301)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    p = np.exp(jax.jit(lambda x: log_p(module, variables, x))(jnp.float32(grid)))
    assert p.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=2e-3)
    assert p.max() > 0.05


def test_the_mass_of_a_byte():
    """A logit-normal with noise of one level: masses sum to one, and the bound is below them."""
    module = Chain((Logit(0.05), FLOWS['flow_vector'](shape=(1,), couplings=0, linear=True)))
    variables = begun(module, rows(50, 1), moved=0.5)
    inside = (np.arange(64) + 0.5) / 64  # of a level
    y = (np.arange(256)[:, None] + inside) / 256
    found = jax.jit(lambda y: log_p(module, variables, y))(jnp.float32(y.reshape(-1, 1)))
    found = np.asarray(found, np.float64).reshape(256, 64) - np.log(256)
    mass, bound = np.exp(found).mean(1), found.mean(1)
    z = scipy.stats.norm.cdf(np.ravel(apply(module, variables, np.float32([[0], [1]]))[0]))
    assert mass.sum() == pytest.approx(z[1] - z[0], abs=1e-3)  # all that lies within the levels
    assert (bound <= np.log(mass) + 1e-6).all() and np.exp(bound).sum() < mass.sum()


# ---- what the papers say


def test_additive_couplings_keep_volume():
    x = rows(6, 4)
    module = FLOWS['flow_vector'](shape=(4,), couplings=3, coupling='additive', width=8)
    variables = begun(module, x)
    log_det = apply(module, variables, x)[1]
    (scale,) = (v['log_scale'] for v in variables['params'].values() if 'log_scale' in v)
    assert scale.shape == (4,)
    np.testing.assert_allclose(log_det, np.full(6, scale.sum()), rtol=1e-5)


@pytest.mark.parametrize('mask, flip', [('checkerboard', 0), ('checkerboard', 1), ('channels', 0)])
def test_entries_under_the_mask_stay_and_the_others_move_each_other_not(mask, flip):
    module, x = Coupling(mask, bool(flip)), rows(2, 4, 4, 2)
    variables = begun(module, x)
    i, j, c = np.indices((4, 4, 2))
    stays = ((i + j + flip) % 2 == 0) if mask == 'checkerboard' else (c < 1)
    ways = np.zeros((16, 2, 4, 4, 2), np.float32)
    ways[:, :, ~stays] = np.eye(16)[:, None]

    @jax.jit
    def told(x):
        z, slope = jax.linearize(lambda x: module.apply(variables, x)[0], x)
        return z, jax.vmap(slope)(ways)

    z, slopes = map(np.asarray, told(x))
    np.testing.assert_array_equal(z[:, stays], x[:, stays])
    assert (np.abs(z - x)[:, ~stays] > 1e-6).all()
    # the Jacobian of what moves, by what moves, is diagonal
    matrix = slopes[:, 0, ~stays]
    np.testing.assert_allclose(matrix, np.diag(np.diag(matrix)), atol=1e-6)


def test_half_of_the_channels_leaves_and_z_goes_from_coarse_to_fine():
    module = FactorOut(Chain((Actnorm(), flow.Flat((2, 2, 1)))), (2, 2, 2))
    x = rows(5, 2, 2, 2)
    (z, _), variables = jax.jit(module.init_with_output)(KEY, x)
    np.testing.assert_array_equal(z[:, 4:], x[..., 1].reshape(5, 4))
    assert abs(z[:, :4].mean()) < 1e-5 and jax.tree.leaves(variables)[0].shape == (1,)


def kinds(module):
    """The layers of a chain that are no actnorm, couplings by mask, flip and width."""
    return [
        (part.mask, part.flip, part.width) if isinstance(part, Coupling) else type(part).__name__
        for part in module.layers
        if not isinstance(part, Actnorm)
    ]


def test_masks_take_turns():
    """Real NVP, sections 3.4 and 3.6, figure 3."""
    whole, flips = FLOWS['flow_image'](shape=(8, 8, 1), width=4), (False, True, False, True)
    image = [('checkerboard', flip, 4) for flip in flips]
    channels, last = ([(mask, flip, 8) for flip in flips] for mask in ('channels', 'checkerboard'))
    assert kinds(whole) == [*image[:3], 'Squeeze', *channels[:3], 'FactorOut']
    assert kinds(whole.layers[-1].rest) == [*last, 'Flat']
    assert sum(isinstance(part, Actnorm) for part in whole.layers) == 6
    vectors = FLOWS['flow_vector'](shape=(3,), couplings=4, width=4)
    assert kinds(vectors) == ['Flat', *image]


def test_the_scale_of_a_coupling_has_a_learned_bound():
    module, x = Coupling(), 50 * rows(3, 4, 4, 2)
    params = begun(module, x)['params']['net']
    ask = jax.jit(lambda bound: module.apply({'params': {'net': params | {'bound': bound}}}, x)[1])
    log_det = [np.asarray(ask(np.full(2, bound, 'f'))) for bound in (1, 2)]
    np.testing.assert_allclose(2 * log_det[0], log_det[1], rtol=1e-5)
    assert (0 < np.abs(log_det[0])).all() and (np.abs(log_det[0]) <= 16).all()  # half of 32 move


def test_a_logit_is_scipys():
    x = rows(3, 4)
    z, _ = apply(Logit(0.1), {}, x)
    np.testing.assert_allclose(z, scipy.special.logit(0.1 + 0.8 * x), atol=1e-5)
    ends, _ = apply(Logit(), {}, np.float32([[0, 1]]))
    np.testing.assert_allclose(ends, [[-np.log(19), np.log(19)]], rtol=1e-5)


def test_mistakes_of_flows():
    with pytest.raises(Mistake, match='no 3 scales.*divisible by 4'):
        nets.make(dict(name='flow_image', scales=3), shape=(6, 8, 1))
    with pytest.raises(Mistake, match='name=flow_vector'):
        nets.make(dict(name='flow_image'), shape=(2,))
    with pytest.raises(Mistake, match='couplings=8'):
        nets.make(dict(name='flow_vector', couplings=0))
