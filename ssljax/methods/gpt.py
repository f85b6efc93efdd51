"""GPT: each token is predicted from those before it. Radford et al. 2018, 2019."""

import jax
import jax.numpy as jnp

from ssljax.kinds import Count, NetSpec, Positive
from ssljax.losses import sequence
from ssljax.method import Method, Run, Turn
from ssljax.nets import Nets


def gpt(run: Run, *, decoder: NetSpec = dict(name='gpt2')) -> Method:
    nets = Nets(decoder=decoder, dtype=run.dtype, vocab=run.vocab)

    def init(key, batch):
        params, _, _ = nets.init(key, lambda net, x: net.decoder(x), batch['x'][:, :-1])
        return params, {}

    def nats(net, batch):  # [B, T - 1]
        # the last token is only predicted, so it is never looked at; its logits would be unused
        logits = net.decoder(batch['x'][:, :-1])
        logits = jnp.pad(logits, ((0, 0), (0, 1), (0, 0)))
        return sequence.next_token(logits, batch['x'], mask=batch.get('mask'))

    def loss(key, state, batch):
        net = nets(state.params, train=True, key=key)  # the key is for dropout
        return nats(net, batch).mean(), state.memory, {}

    def token_log_prob(key, state, batch):  # [B, T - 1]
        return -nats(nets(state.params), batch)

    def encode(key, state, batch):
        h = nets(state.params).decoder(batch['x'][:, :-1], method='features')
        return h.mean(1)

    def sample(key, state, batch, *, prompt: Count = 1, temperature: Positive = 0.8):
        net, T = nets(state.params), batch['x'].shape[1]

        def write(t, x):
            logits = net.decoder(x[:, :-1])[:, t - 1] / temperature
            token = jax.random.categorical(jax.random.fold_in(key, t), logits)
            return x.at[:, t].set(token)

        return jax.lax.fori_loop(prompt, T, write, batch['x'])

    readouts = {'token_log_prob': token_log_prob, 'encode': encode, 'sample': sample}
    return Method(init, {'decoder': Turn(loss)}, readouts=readouts)
