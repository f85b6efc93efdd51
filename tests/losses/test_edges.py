"""What every loss does at its edges, whichever it is: by the list of cases.py."""

import inspect

import cases_modeling
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from test_proofs import SETS as CUT
from test_proofs import (
    bound,
    drawn,
    even,
    every,
    named,
    needs_eight,
    objective,
    real,
    value_and_slopes,
)

from ssljax import losses

SETS = [case for case in CASES if case.of_set]


def refusal(case, args):
    """What is said of these arguments while the loss is traced; nothing is computed."""
    with pytest.raises(ValueError) as told:
        jax.eval_shape(bound(case), *args)
    assert '\n' not in str(told.value)
    assert str(told.value).startswith(f'{case.name.split()[0]}: '), told.value
    return str(told.value)


def changed(args, i, shape):
    other = list(args)
    other[i] = jnp.zeros(shape, args[i].dtype)
    return other


# arguments of the cases that are broadcast to the others: one row is for all
SPREAD = {
    ('deepcluster', 2), ('gaussian', 2), ('denoising_score_matching', 2), ('kl_gaussian prior', 2),
    ('kl_gaussian prior', 3), ('kl_bernoulli prior', 1), ('kl_categorical prior', 1),
}  # fmt: skip


ANY = {  # arguments of any axes
    (name, 0) for name in (
        'change_of_variables', 'kl_bernoulli', 'kl_categorical', 'minimax_generator',
        'non_saturating_generator', 'least_squares_generator', 'wasserstein_generator',
    )
}  # fmt: skip
ANY |= cases_modeling.ANY
SPREAD |= {('infogan_continuous', 2)}


def written(*shape):
    return f'[{", ".join(map(str, shape))}]'


@every
def test_no_argument_has_one_row_or_one_axis_more(case):
    args = real(drawn(case))
    for i, a in enumerate(args):
        if (case.name.split()[0], i) not in ANY:
            assert written(*a.shape, 1) in refusal(case, changed(args, i, (*a.shape, 1)))
        if len(args) > 1 and case.name not in cases_modeling.TWO_SETS:
            for rows in {len(a) + 1, 2 if (case.name, i) in SPREAD else 1}:
                said = refusal(case, changed(args, i, (rows, *a.shape[1:])))
                assert written(rows, *a.shape[1:]) in said


ALONE = ('sinkhorn', 'swav', 'self_labelling', 'instance_log_normalizer', 'msn', 'sigreg')
ALONE += ('total_coding_rate', 'mcr2')


@pytest.mark.parametrize('case', SETS, ids=lambda case: case.name)
def test_a_batch_in_which_no_pair_is_is_refused(case):
    alone = case.name.split()[0] in ALONE or case.name in ('info_nce negatives', 'cpc all')
    alone |= case.name in cases_modeling.ALONE
    args = [a[:1] for a in real(drawn(case))]
    if case.name.startswith('info_nce') and len(args) > 2:
        args[2] = args[2][:, :1]
        alone |= 'negatives' in case.options
    if alone:
        jax.eval_shape(bound(case), *args)
    else:
        assert refusal(case, args).endswith('B at least 2')


@pytest.mark.parametrize(
    'said, call',
    {
        'moco: queue is [0, 3]; it must be [M, D], M at least 1':
            lambda z: losses.moco(z, z, z[:0]),
        'swav: scores is [4, 1, 3]; it must be [B, V, K], V at least 2':
            lambda z: losses.swav(z[:, None], assigned=1),
        'swav: assigned=3; it must be 1 to 2, the views':
            lambda z: losses.swav(jnp.stack([z, z], 1), assigned=3),
        'dino: teacher has 3 views, and student has 2; it must have them all':
            lambda z: losses.dino(jnp.stack([z] * 2, 1), jnp.stack([z] * 3, 1), center=z[0]),
        'dino: student is [4, 1, 3]; it must be [B, V, K], V at least 2':
            lambda z: losses.dino(z[:, None], z[:, None], center=z[0]),
        'dino_center: teacher is [4, 3]; it must be [B, G, K]':
            lambda z: losses.dino_center(z[0], z),
        'info_nce: alike is [4, 3]; it must be [B, 4]':
            lambda z: losses.info_nce(z, z, alike=jnp.ones((4, 3), bool)),
        'sinkhorn: rounds=-1; it must be 0 or more':
            lambda z: losses.sinkhorn(z, rounds=-1),
        'mae: prediction is [4, 3, 1]; it must be [B, T, P], P at least 2':
            lambda z: losses.mae(z[..., None], z[..., None], z > 0, ddof=1),
        'ctc: blank=3; it must be 0 to 2, a class of the logits':
            lambda z: losses.ctc(z[None], jnp.ones((1, 1), int), blank=3),
        'critic: its value is []; it must be [4, ...]':
            lambda z: losses.r1(lambda x: x.sum(), z),
        'gradient_penalty: fake is [1, 3], and real is [4, 3]; both must be [B, ...]':
            lambda z: losses.gradient_penalty(jax.random.key(0), len, z, z[:1]),
    }.items(),
    ids=lambda given: given.split(';')[0] if isinstance(given, str) else '',
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(said, call):
    with pytest.raises(ValueError) as told:
        jax.eval_shape(call, jax.ShapeDtypeStruct((4, 3), 'float32'))
    assert str(told.value) == said


def test_lists_are_arrays():
    for case in CASES:
        args = [np.asarray(a).tolist() for a in real(drawn(case))]
        expected = jax.eval_shape(bound(case), *real(drawn(case)))
        assert jax.eval_shape(lambda case=case, args=args: bound(case)(*args)) == expected


# ---- what is off is not read

OFF = {  # of a case: what is written into its arguments, where they are off
    'mae': lambda p, x, m: (np.where(m[..., None], p, np.nan), np.where(m[..., None], x, np.nan)),
    'next_token weighted': lambda logits, tokens, mask: (
        np.where(np.pad(mask[:, 1:] != 0, ((0, 0), (0, 1)))[..., None], logits, np.nan),
        np.where(mask != 0, tokens, -100),
    ),
    'masked_token': lambda logits, tokens, mask: (
        np.where(mask[..., None], logits, np.nan), np.where(mask, tokens, -100),
    ),
    'ctc': lambda logits, text, length, text_length: (
        np.where(np.arange(4)[:, None] < length[:, None, None], logits, np.nan),
        np.where(np.arange(2) < text_length[:, None], text, -100),
    ),
}  # fmt: skip
OFF |= {'simmim': OFF['mae'], 'mae plain': OFF['mae'], 'ctc_posteriors': OFF['ctc']}
OFF |= {'ctc_positions': OFF['ctc'], 'beit': OFF['masked_token']} | cases_modeling.OFF
PADDED = [case.name for case in CASES if case.of_set and drawn(case)[-1].dtype == bool
          and case.name not in ('info_nce alike', 'cpc')]  # fmt: skip


def spoiled(name, args):
    if name in OFF:
        spoilt = OFF[name](*args)
        return (*spoilt, *args[len(spoilt) :])
    where = args[-1]
    return *(nowhere(a, where) for a in args[:-1]), where


def nowhere(a, where):
    """a with what must not be read in the rows that are off."""
    off = {'f': np.nan, 'i': -100, 'b': True}[a.dtype.kind]
    return np.where(where.reshape(-1, *[1] * (a.ndim - 1)), a, np.asarray(off, a.dtype))


@pytest.mark.parametrize('name', [*OFF, *PADDED])
def test_what_is_off_is_not_read(name):
    """NaN there changes no bit of the value or of the gradient, which is zero there."""
    args = [np.asarray(a) for a in real(drawn(named(name)))]
    if name == 'next_token weighted':
        args[2] = np.where(np.random.default_rng(0).random(args[2].shape) < 0.5, args[2], 0)
    other = spoiled(name, args)
    assert any((a != b).any() for a, b in zip(args, other))
    weight = even(named(name), args)
    value, *grads = jax.tree.leaves(value_and_slopes(named(name), args, weight))
    spoilt, *spoilt_grads = jax.tree.leaves(value_and_slopes(named(name), other, weight))
    assert np.isfinite(value).all()
    np.testing.assert_array_equal(spoilt, value)
    for grad, spoilt in zip(grads, spoilt_grads, strict=True):
        np.testing.assert_array_equal(grad, spoilt)


# of places, not rows: test_comparing.py
PLACES = {'ibot', 'data2vec', 'jepa', 'point_info_nce', 'patch_nce', 'cpc', 'cbow'}
PLACES |= {'sinkhorn_center'}


def test_every_loss_with_a_mask_or_a_length_is_among_them():
    masked = {
        name
        for name in losses.__all__
        if {'mask', 'where', 'length'} & {*inspect.signature(getattr(losses, name)).parameters}
    }
    assert masked - PLACES == {name.split()[0] for name in [*OFF, *PADDED]} | {'dino_center'}


def test_the_center_is_of_the_rows_that_count():
    teacher = np.random.default_rng(0).normal(size=(4, 2, 3))
    where = np.array([True, False, True, True])
    found = losses.dino_center(np.zeros(3), nowhere(teacher, where), where=where)
    np.testing.assert_allclose(found, losses.dino_center(np.zeros(3), teacher[where]), rtol=1e-5)


LABELED = {
    'cross_entropy': losses.cross_entropy,
    'deepcluster': losses.deepcluster,
    'categorical': lambda x, y: losses.categorical(x[:, None], y[:, None]),
    'masked_token': lambda x, y: losses.masked_token(x[:, None], y[:, None], y[:, None] > -9)[:, 0],
}


@pytest.mark.parametrize('name', LABELED)
def test_a_label_that_is_no_class_is_never_the_last_class(name):
    found = LABELED[name](jnp.zeros((4, 3)), jnp.array([0, -1, 3, 2]))
    np.testing.assert_array_equal(np.isnan(found), [False, True, True, False])


# ---- classes that cannot be


def test_zero_times_the_logarithm_of_zero_is_zero():
    none = -jnp.inf
    x = jnp.array([[0.5, none, -0.5], [none, none, 1.0]])
    views = jnp.stack([x, x], 1)
    other = jnp.array([[0.3, none, none], [none, none, 0.0]])

    def all_of(x, views, other):
        q = jax.nn.softmax(x)[:, [0, 2]]  # on the two classes that can be
        return {
            'entropy': losses.entropy(x) + (q * jnp.log(q + 1e-30)).sum(1),
            'kl_categorical': losses.kl_categorical(other, prior_logits=x)
            + jnp.log(jax.nn.softmax(x)[jnp.arange(2), jnp.array([0, 2])]),
            'dino': losses.dino(views, views, center=jnp.zeros(3), teacher_temperature=0.1)
            - losses.entropy(x / 0.1),
        }

    found = jax.jit(all_of)(x, views, other)
    for name, value in found.items():
        np.testing.assert_allclose(value, 0, atol=1e-5, err_msg=name)
    slopes = jax.jit(jax.jacobian(all_of, (0, 1, 2)))(x, views, other)
    for name, slope in slopes.items():
        assert all(np.isfinite(s).all() for s in slope), name
    # the other way around it is infinite: a class that is, and that the prior says cannot be
    assert np.isposinf(losses.kl_categorical(x[:1], prior_logits=other[:1])).all()


# ---- dtypes, lengths, slopes


@every
def test_nothing_is_promoted_by_chance(case):
    with jax.numpy_dtype_promotion('strict'):
        args = real(drawn(case))
        jax.eval_shape(objective(case, bound(case)), *args)
        numbers = {k: jnp.float32(v) for k, v in case.options.items() if isinstance(v, float)}
        jax.eval_shape(bound(case, **numbers), *args)


UNITS = ('nt_xent', 'info_nce', 'clip', 'siglip', 'sup_con', 'koleo', 'cosine_regression', 'moco')


@pytest.mark.parametrize('name', UNITS)
def test_the_length_of_a_row_means_nothing_at_any_size(name):
    case, args = named(name), real(drawn(named(name)))
    loss = jax.jit(bound(case))
    for length in (1e-8, 1e19):
        other = [a * length if a.dtype == jnp.float32 else a for a in args]
        np.testing.assert_allclose(loss(*other), loss(*args), rtol=2e-5, atol=2e-5)


def test_a_distance_of_zero_has_no_slope():
    x = jnp.ones((1, 2, 3))
    mask = jnp.ones((1, 2), bool)
    assert not jax.grad(lambda p: losses.simmim(p, x, mask).sum())(x).any()
    assert not jax.grad(lambda back: losses.cycle(back, x).sum())(x).any()


# ---- devices


# those that test_proofs.py cuts are computed there
@needs_eight
@pytest.mark.parametrize('case', [c for c in CASES if c not in CUT], ids=lambda case: case.name)
def test_as_typed_on_an_explicit_mesh(case):
    """Value and gradient are traced, where JAX refuses what it cannot place."""
    with jax.set_mesh(jax.make_mesh((8,), ('data',))):
        args = jax.device_put(real(drawn(case, 8)), jax.P('data'))
        value, grads = jax.jit(objective(case, bound(case))).eval_shape(*args)
    for grad, i in zip(grads, case.moves):
        assert grad.shape == args[i].shape


@needs_eight
@pytest.mark.parametrize('name', ['nt_xent', 'info_nce alike', 'sup_con', 'siglip block',
                                  'barlow_twins where', 'koleo', 'swav where'])  # fmt: skip
def test_a_batch_over_two_axes(name):
    case = named(name)
    args = real(drawn(case, 16))
    value, grads = jax.jit(objective(case, bound(case)))(*args)
    mesh = jax.make_mesh((2, 4), ('a', 'b'), (jax.sharding.AxisType.Auto,) * 2)
    cut = jax.P(('a', 'b'))
    loss = jax.shard_map(
        bound(case, axis_name=('a', 'b')), mesh=mesh, in_specs=cut,
        out_specs=cut if value.ndim else jax.P(),
    )  # fmt: skip
    found = jax.jit(objective(case, loss))(*args)
    np.testing.assert_allclose(found[0], value, rtol=2e-5, atol=2e-6)
    for a, b in zip(found[1], grads):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def test_an_axis_that_is_not_there_is_named_in_a_sentence():
    z = jnp.ones((2, 3))
    with pytest.raises(NameError, match="axis_name='data': the loss is inside no shard_map"):
        losses.nt_xent(z, z, axis_name='data')
