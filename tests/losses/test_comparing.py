"""What holds for all losses of cases_comparing.py that have a mask of places."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from case import masked
from cases_comparing import CASES
from test_proofs import drawn, real

from ssljax import losses

# of rows: those of test_edges.py
PADDED = [case for case in CASES if getattr(case.loss, 'func', None) is masked]


def test_what_a_mask_leaves_out_may_be_anything():
    """Nan there changes neither the value nor a gradient, and a row of nothing is zero."""
    random = np.random.default_rng(0)
    p, z = random.normal(size=(2, 3, 4, 5)).astype(np.float32)
    mask = np.array([[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]], bool)
    center = jnp.zeros(5)
    of_mask = {
        'ibot': lambda p, z: losses.ibot(p, z, mask, center=center),
        'data2vec': lambda p, z: losses.data2vec(p, z, mask),
        'jepa': lambda p, z: losses.jepa(p, z, where=mask),
        'point_info_nce': lambda p, z: losses.point_info_nce(p, z, where=mask),
        'patch_nce': lambda p, z: losses.patch_nce(p, z, where=mask),
        'cpc': lambda p, z: losses.cpc(p, z, where=mask).sum(1),
        'cpc of all steps': lambda p, z: losses.cpc(p, z, where=mask, all_steps=True).sum(1),
        'cbow': lambda p, z: losses.cbow(p, z[:, 1], z[:, 3:], where=mask),
    }
    odd = [np.where(mask[..., None], x, np.nan) for x in (p, z)]
    for name, loss in of_mask.items():
        other = odd[1] if name != 'cbow' else z  # all of its noise counts
        both = jax.jit(
            lambda p, z, loss=loss: (loss(p, z), jax.grad(lambda p: loss(p, z).sum())(p))
        )
        (value, grad), (found, slope) = both(p, z), both(odd[0], other)
        np.testing.assert_array_equal(found, value, err_msg=name)
        np.testing.assert_array_equal(slope, grad, err_msg=name)
        assert not grad[~mask].any() and (name == 'cbow' or value[2] == 0), name
        assert (value[:2] > 0).all() and grad[mask].any(), name


def names(cases):
    return {case.name.split()[0] for case in cases}


def test_every_mask_is_tried():
    with_mask = {
        name
        for name in names(CASES) - names(PADDED)
        if {'mask', 'where'} & set(inspect.signature(getattr(losses, name)).parameters)
    }
    assert with_mask == {
        'ibot', 'data2vec', 'jepa', 'point_info_nce', 'patch_nce', 'cpc', 'cbow'
    }  # fmt: skip


def test_where_all_rows_count_no_mask_is_needed():
    """Value and gradient without `where` are those of a mask that is true everywhere; the shared
    cases have masks alone."""
    args = {case.name: real(drawn(case, 6)) for case in PADDED}

    def both(args, mask):
        found = {}
        for case in PADDED:
            *given, where = args[case.name]
            loss = case.loss.args[0]  # of the case, without its mask
            options = case.options | ({'where': jnp.ones_like(where)} if mask else {})
            value, back = jax.vjp(partial(loss, **options), *given)
            found[case.name] = value, [back(jnp.ones_like(value))[i] for i in case.moves]
        return found

    found, plain = jax.jit(lambda args: (both(args, True), both(args, False)))(args)
    for name, (value, slopes) in plain.items():
        np.testing.assert_allclose(found[name][0], value, rtol=1e-5, atol=1e-6, err_msg=name)
        for slope, other in zip(slopes, found[name][1]):
            assert np.abs(slope).max() > 1e-4, name
            np.testing.assert_allclose(
                other, slope, rtol=1e-4, atol=1e-5 * np.abs(slope).max(), err_msg=name
            )
