"""GPT, restated from Radford et al. 2018, section 3.1: equations 1 and 2."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from ssljax.model import STEP

# rows have 17 tokens: the last one is only predicted, so 16 are read
SHORT = {'model__decoder__context': 16}
KEY = jax.random.key(1)


def log_p(logits):
    """log P of each token of the vocabulary: the softmax of equation 2."""
    return logits - jnp.log(jnp.exp(logits).sum(-1, keepdims=True))


def of_next(logits, x):
    """log P(x[t + 1] | x[: t + 1]), logits [B, T - 1, V] and x [B, T] -> [B, T - 1]."""
    return jnp.take_along_axis(log_p(logits), jnp.asarray(x)[:, 1:, None], 2)[..., 0]


def test_the_loss():
    seen = oracle.see('gpt', **SHORT)
    x, (call,) = seen.batch['x'], seen.calls
    assert call[:3] == ('decoder', '__call__', True) and not seen.memory and not seen.logs
    np.testing.assert_array_equal(call.args[0], x[:, :-1])
    nets = seen.nets('decoder', vocab=seen.job.run.vocab)

    def loss(params):  # the mean over tokens of the sum in equation 1, with its sign changed
        return -of_next(nets(params, train=True).decoder(x[:, :-1]), x).mean()

    value, gradient = oracle.quick(jax.value_and_grad(loss), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)


def test_dropout_and_weights_of_tokens():
    seen = oracle.see('gpt', **SHORT, model__decoder__dropout=0.5)
    x, loss = seen.batch['x'], seen.job.method.turns['decoder'].loss
    oracle.close(seen.value, -of_next(seen.calls[0].out, x).mean())
    # a token's own, not its predecessor's; not divided by their sum, so micro-batches add up
    weights = np.random.default_rng(0).random(x.shape, np.float32)

    def losses(state):
        weighted = loss(seen.job.key(STEP), state, {**seen.batch, 'mask': weights})[0]
        token_log_prob = seen.job.method.readouts['token_log_prob'](KEY, state, seen.batch)
        plain = seen.nets('decoder', vocab=seen.job.run.vocab)(state.params).decoder(x[:, :-1])
        return weighted, loss(KEY, state, seen.batch)[0], token_log_prob, plain

    weighted, other, token_log_prob, plain = oracle.quick(losses, seen.state)
    oracle.close(weighted, -(of_next(seen.calls[0].out, x) * weights[:, 1:]).mean())
    assert abs(other - seen.value) > 1e-4  # another key drops other units
    oracle.close(token_log_prob, of_next(plain, x))  # a readout drops none
    assert np.abs(plain - seen.calls[0].out).max() > 0.1


def test_token_log_prob_and_features():
    """P of all last tokens sums to one; what comes later changes nothing before."""
    seen = oracle.see('gpt', **SHORT)
    vocab, nets = seen.job.run.vocab, seen.nets('decoder', vocab=seen.job.run.vocab)
    x = np.tile(seen.batch['x'][:1], (vocab, 1))
    x[:, -1] = np.arange(vocab)
    y = np.array(seen.batch['x'])
    y[:, 9] = (y[:, 9] + 1) % vocab

    def answers(state):
        net, asked = nets(state.params), seen.job.method.readouts
        found = [asked['token_log_prob'](KEY, state, {'x': x}) for x in (x, y, seen.batch['x'])]
        features = asked['encode'](KEY, state, seen.batch)  # of the tokens that are read
        return found, features, net.decoder(seen.batch['x'][:, :-1], method='features')

    (last, changed, plain), features, hidden = oracle.quick(answers, seen.state)
    np.testing.assert_allclose(np.exp(last[:, -1]).sum(), 1, rtol=1e-5)
    assert np.ptp(last[:, :-1], 0).max() < 1e-6 < np.ptp(last[:, -1])
    np.testing.assert_allclose(changed[:, :8], plain[:, :8], atol=1e-6)
    assert (np.abs(changed - plain)[:, 8:].max(0) > 1e-6).all()  # token 9 and all after it
    oracle.close(features, hidden.mean(1))


def test_samples():
    """A prompt goes on with draws from softmax(logits / temperature); near zero the likeliest."""

    def louder(state):  # so that temperatures differ much
        out = jax.tree.map(lambda w: 5 * w, state.params['decoder']['out'])
        return state.replace(params={'decoder': {**state.params['decoder'], 'out': out}})

    seen = oracle.see('gpt', **SHORT, model__decoder__dropout=0.5)  # which a readout leaves out
    state, sample = louder(seen.state), seen.job.method.readouts['sample']
    nets, x = seen.nets('decoder', vocab=seen.job.run.vocab), np.array(seen.batch['x'])
    two = np.tile(x[:1, :2], (4096, 1))  # the second token is drawn, given the first

    def answers(state):
        net = nets(state.params)
        cold = sample(KEY, state, {'x': x}, prompt=5, temperature=1e-4)
        warm = sample(KEY, state, {'x': two}, temperature=2.0)
        even = sample(KEY, state, {'x': x}, temperature=1e6)
        return cold, net.decoder(cold[:, :-1]), warm, net.decoder(two[:1, :1])[0, 0], even

    cold, logits, warm, first, even = oracle.quick(answers, state)
    # 16 or 8 draws from 103 tokens, each equally likely
    assert all(len(set(draws)) > len(draws) / 2 for draws in (*even[:, 1:], *even[:, 1:].T))
    np.testing.assert_array_equal(cold[:, :5], x[:, :5])
    np.testing.assert_array_equal(cold[:, 5:], logits.argmax(2)[:, 4:])
    np.testing.assert_array_equal(warm[:, 0], two[:, 0])
    share = np.bincount(warm[:, 1], minlength=len(first)) / len(warm)
    off = {t: np.abs(share - np.exp(log_p(first / t))).sum() for t in (1, 2, 4)}
    assert off[2] < 0.15 < min(off[1], off[4])
