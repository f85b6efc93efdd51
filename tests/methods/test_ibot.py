"""iBOT, restated from Zhou et al. 2021, arXiv:2111.07832, section 3. Also KoLeo and Sinkhorn of
Oquab et al. 2023, arXiv:2304.07193, and Gram anchoring of Simeoni et al. 2025, arXiv:2508.10104."""

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest
from jax.nn import log_softmax, softmax

# smoke: two heads, KoLeo, Gram from step 2 on, a warm-up of 3 steps
PLAIN = {'model__shared': True, 'model__koleo': 0.0, 'model__gram': 0.0, 'model__local_views': 1,
         'model__student_temperature': 0.2, 'model__center_momentum': 0.6,
         'model__ratios': (0.25,), 'model__masked': 1.0}  # fmt: skip
SINKHORN = {'model__centering': 'sinkhorn', 'model__local_views': 3}
WHOLE = {'model__local_views': 0}  # no net runs on no rows


def parts(seen, params, x, masks=None):
    """Tokens [N, 1 + T, D], and logits [N, K] of class tokens and [N, T, K] of patches."""
    last, head, c = dict(name='prototypes', count=32), seen.config['head'], seen.config
    own = {} if c['shared'] else dict(patch_head=head, patch_last=last)
    net = seen.nets('encoder', 'head', last=last, patch=8, **own)(params, train=True)
    h = net.encoder(x, None, masks, method='tokens')
    if 'head' not in params:
        return h
    patches = (net.head, net.last) if c['shared'] else (net.patch_head, net.patch_last)
    return h, net.last(net.head(h[:, 0])), patches[1](patches[0](h[:, 1:]))


def equal_use(p):
    """Three rounds of Sinkhorn and Knopp of rows p [N, K]: sums of columns, then of rows."""
    for _ in range(3):
        p = p / p.sum(0)
        p = p / p.sum(1, keepdims=True)
    return p


def targets(seen, masks):
    """By the teacher of the whole views: class [16, 2, K], patches [32, T, K], centers after."""
    c, old, x = seen.config, seen.state.memory.get('center'), seen.views[0].out
    taught = oracle.quick(lambda x: parts(seen, seen.state.memory['teacher'], x), x)
    t = [np.float64(logits) for logits in taught[1:]]
    first, last = c['teacher_temperature']
    tau = first + (last - first) * min(int(seen.state.step) / 3, 1)
    if c['centering'] == 'sinkhorn':  # of the patches that are predicted
        of_class, of_patches = equal_use(np.exp(t[0] / tau)), np.zeros_like(t[1])
        of_patches[masks] = equal_use(np.exp(t[1][masks] / tau))
        return of_class.reshape(16, 2, -1), of_patches, {}
    p = [softmax((rows - old[name]) / tau) for rows, name in zip(t, ('class', 'patch'))]
    m, new = c['center_momentum'], {'class': t[0].mean(0), 'patch': t[1].mean((0, 1))}
    center = jax.tree.map(lambda a, b: m * a + (1 - m) * b, old, new)
    return p[0].reshape(16, 2, -1), p[1], {'center': center}


def unit(z):
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


def koleo(z):
    """-1/n sum log |z_i - its nearest|, of unit rows."""
    square = 2 - 2 * unit(z) @ unit(z).T + 9 * np.eye(len(z))
    return -jnp.log(jnp.sqrt(square.min(1))).mean()


def masks_of(seen):
    """So many are masked, each by one of the ratios, and not alike: bool [32, T]."""
    given = [call.args[2] for call in seen.calls if len(call.args) > 2]
    (masks,) = (np.asarray(one) for one in given if one is not None)
    c, some = seen.config, masks[masks.any(1)]
    assert len(some) == round(32 * c['masked']) and len({row.tobytes() for row in some}) > 4
    assert set(some.sum(1)) == {round(16 * ratio) for ratio in c['ratios']}
    return masks


@pytest.mark.parametrize('step, changes', [(1, {}), (3, {}), (1, PLAIN), (3, SINKHORN), (1, WHOLE)])
def test_the_loss(step, changes):
    """What the student's masked patches were is of no matter: here they are noise."""
    seen = oracle.see('ibot', step=step, **changes)
    c, (wide, *near), masks = seen.config, seen.views, masks_of(seen)
    asked = [(c['global_view'], 2), (c['local_view'], c['local_views'])]
    assert [(v.spec, len(v.out) // 16) for v in seen.views] == asked[: 1 + bool(c['local_views'])]
    p_class, p_patch, center = targets(seen, masks)
    pixels = masks.reshape(-1, 4, 4).repeat(8, 1).repeat(8, 2)[..., None]
    x = np.where(pixels, np.random.default_rng(0).normal(size=wide.out.shape), wide.out)

    def loss(params):
        tau, (h, s, s_patch) = c['student_temperature'], parts(seen, params, x, masks)
        s = [s, *(parts(seen, params, v.out)[1] for v in near)]
        log_q = log_softmax(jnp.concatenate([rows.reshape(16, -1, 32) for rows in s], 1) / tau)
        pairs = [(g, v) for g in range(2) for v in range(log_q.shape[1]) if g != v]
        terms = [-(p_class[:, g] * log_q[:, v]).sum(-1).mean() for g, v in pairs]
        each = -(p_patch * log_softmax(s_patch / tau)).sum(-1) * masks  # equation 2
        told = {'class': sum(terms) / len(terms)}
        told['patch'] = (each.sum(1) / np.maximum(masks.sum(1), 1)).mean()
        value = c['weights'][0] * told['class'] + c['weights'][1] * told['patch']
        if c['koleo']:
            told['koleo'] = sum(koleo(h[g::2, 0]) for g in range(2))
            value += c['koleo'] * told['koleo']
        if c['gram']:  # to an earlier teacher's patches of the whole view, once there is one
            g = unit(parts(seen, {'encoder': seen.state.memory['earlier']}, wide.out)[:, 1:])
            z = unit(h[:, 1:])
            told['gram'] = jnp.square(z @ z.swapaxes(1, 2) - g @ g.swapaxes(1, 2)).mean()
            value += c['gram'] * told['gram'] * (step >= c['gram_every'])
        return value, told

    slope = jax.value_and_grad(loss, has_aux=True)
    (value, told), gradient = oracle.quick(slope, seen.state.params)
    oracle.close((seen.value, seen.logs), (value, told))
    oracle.close(seen.gradient, gradient, 3e-4)
    oracle.close(seen.memory, {**seen.state.memory, **center})


def test_teachers_follow():
    """Its momentum rises to 1 by a cosine; every so many steps its encoder is kept for Gram."""
    seen = oracle.see('ibot', model__momentum=0.7)
    start, names = seen.job.fresh(), jobs.leaves(seen.memory['teacher']).keys()
    student = jobs.leaves(start.params)
    assert student.keys() - names == {'encoder/mask_token/value'}
    assert not jobs.differing(jobs.leaves(start.memory['teacher']), {n: student[n] for n in names})
    old, new = jobs.leaves(seen.memory['teacher']), jobs.leaves(seen.state.params)
    for k in range(4):
        m = 1 - (1 - 0.7) * (np.cos(np.pi * k / 4) + 1) / 2
        state, logs = oracle.after(seen, step=np.int32(k))
        found, rest = dict(state.memory), dict(seen.memory)
        teacher, earlier = found.pop('teacher'), found.pop('earlier')
        oracle.close(jobs.leaves(teacher), {n: m * a + (1 - m) * new[n] for n, a in old.items()})
        oracle.close(earlier, teacher['encoder'] if k % 2 else rest['earlier'])
        assert not jobs.differing(found, {name: rest[name] for name in found}) and not logs
    given, encode = (seen.state, seen.batch), seen.job.method.readouts['encode']
    found = oracle.quick(lambda s, batch: encode(jax.random.key(1), s, batch), *given)
    expected = oracle.quick(lambda s, b: parts(seen, s.memory['teacher'], b['x'])[0][:, 0], *given)
    oracle.close(found, expected)
