"""Instance discrimination: every image is a class of its own, told apart by older features of all.

Wu et al. 2018, arXiv:1805.01978. The bank's momentum is that of the authors' code, which has it in
place of the proximal term of equation 10; so that term is off until `proximal` is given. Their view
removes color before it jitters, and its hue moves by up to 0.4, here 0.1; they judge neighbors by
v, and `encode` gives the encoder's features, as it does in other methods.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.collapse import directions, participation
from ssljax.kinds import Decay, Natural, NetSpec, NonNegative, Positive, ViewSpec
from ssljax.losses import banks, distillation
from ssljax.method import Method, Run, Turn
from ssljax.nets import Nets


def instance_discrimination(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(128,)),
    view: ViewSpec = dict(name='simclr', size=224, scale=(0.2, 1.0), jitter=1.0),
    noise: Natural = 4096,  # rows drawn for each image, for NCE; 0: the softmax of all rows
    temperature: Positive = 0.07,
    momentum: Decay = 0.5,  # of a row of the bank
    proximal: NonNegative = 0.0,  # weight of |v - row|^2, so that features move slowly
) -> Method:
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    view = augment.make(view)

    def embed(net, x):  # -> v, of length one
        return directions(net.projector(net.encoder(x)))

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        x = augment.views(view, k1, batch['x'], 1)
        params, stats, v = nets.init(k2, embed, x)
        bank = directions(jax.random.normal(k3, (run.examples, v.shape[-1])))
        memory = {'stats': stats, 'bank': bank}
        if noise:
            memory['log_normalizer'] = jnp.float32(0)  # that of step 0, from then on
        return params, memory

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        memory, index = state.memory, batch['index']
        net = nets(state.params, memory['stats'], train=True)
        v = embed(net, augment.views(view, k1, batch['x'], 1))
        bank, old = memory['bank'], memory['bank'][index]
        if noise:
            others = jax.random.randint(k2, (len(index), noise), 0, run.examples)
            log_z = banks.instance_log_normalizer(v, others, bank, temperature=temperature)
            log_z = jnp.where(state.step == 0, log_z, memory['log_normalizer'])
            memory = memory | {'log_normalizer': log_z}
            value = banks.instance_nce(
                v, index, others, bank, log_normalizer=log_z, temperature=temperature
            )
        else:
            value = banks.instance_discrimination(v, index, bank, temperature=temperature)
        value += proximal * distillation.cosine_regression(v, old)
        rows = directions(momentum * old + (1 - momentum) * v)  # after the loss, which used old
        memory = memory | {'stats': net.stats, 'bank': bank.at[index].set(rows)}
        logs = {'agreement': (v * old).sum(1).mean(), 'rank': participation(v)}
        return value.mean(), memory, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    # the softmax of all rows is added up where the rows of the bank lie, cut over devices; drawn
    # rows can lie anywhere, so that each device has the whole bank
    by_rows = () if noise else ('bank',)
    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode}, by_rows=by_rows)
