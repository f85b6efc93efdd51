"""Pseudo-labels of texts: a reader transcribes lines that nobody has, and learns what may be right.

Breuel's lectures, "Using millions of untranscribed pages"; the reader is that of Graves et al. 2006
(ICML). In rounds: all lines are read at once; readings that are unlikely, or have a word that no
dictionary has, are left out, and the reader goes on with the rest.
"""

import jax
import jax.numpy as jnp

from ssljax import augment, search
from ssljax.kinds import NetSpec, Positive, Share, ViewSpec
from ssljax.losses import sequence
from ssljax.method import Method, Refresh, Run, Turn, every
from ssljax.names import Mistake
from ssljax.nets import Nets


def pseudo_text(
    run: Run,
    *,
    encoder: NetSpec = dict(name='line_lstm'),
    view: ViewSpec = dict(name='identity'),  # it may not move columns: their number is known
    epochs: Positive = 4,  # of a round
    threshold: Share = 0.5,  # the least probability of a reading that is learned
    spelled: bool = True,  # whether all words of a reading have to be in the dictionary
) -> Method:
    if not run.vocab or not {'text', 'text_length', 'length'} <= set(run.row):
        raise Mistake(
            'pseudo_text needs some lines with texts, and this data has none; type few_texts'
        )
    if spelled and not run.words:
        raise Mistake('this data has no dictionary; type model.spelled=False')
    blank, most = run.vocab, run.row['text'].shape[0]
    trie = search.trie(run.words, run.tokens) if spelled else None
    nets = Nets(encoder=encoder, head=dict(name='mlp', dims=(blank + 1,)), dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x, length):  # -> logits [B, T, V + 1], frames that are meant [B]
        logits = net.head(net.encoder(x, length))
        return logits, -(-length * logits.shape[1] // x.shape[2])

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        x = augment.views(view, k1, batch['x'], 1)
        params, _, _ = nets.init(k2, forward, x, batch['length'])
        text, size = jnp.zeros((run.examples, most), jnp.int32), jnp.zeros(run.examples, jnp.int32)
        return params, {'text': text, 'size': size, 'round': jnp.int32(0)}

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        memory, index = state.memory, batch['index']
        x = augment.views(view, k1, batch['x'], 1)
        net = nets(state.params, train=True, key=k2)  # the key is for dropout
        logits, frames = forward(net, x, batch['length'])
        read = memory['round'] > 0  # the first round has the given texts alone
        text = jnp.where(read, memory['text'][index], batch['text'])
        size = jnp.where(read, memory['size'][index], batch['text_length'])
        nats = sequence.ctc(logits, text, length=frames, text_length=size, blank=blank)
        known = (size > 0) & jnp.isfinite(nats)  # not if it is too long for its frames
        value = jnp.where(known, nats, 0).sum() / jnp.maximum(known.sum(), 1)
        return value, memory, {'known': known.mean()}

    def transcribe(key, state, batch):
        logits, frames = forward(nets(state.params), batch['x'], batch['length'])
        return search.best_path(logits, length=frames)

    def reading(key, state, batch):  # tokens [B, most]; how many, their probability, whether words
        logits, frames = forward(nets(state.params), batch['x'], batch['length'])
        path = search.best_path(logits, length=frames)
        path = jnp.pad(path, ((0, 0), (0, most)), constant_values=-1)
        first = jnp.argsort(path < 0, axis=1, stable=True)[:, :most]  # tokens before nothing
        text = jnp.maximum(jnp.take_along_axis(path, first, 1), 0)
        size = (path >= 0).sum(1)
        size = jnp.where(size > most, 0, size)  # longer than any text: it says nothing
        nats = sequence.ctc(logits, text, length=frames, text_length=size, blank=blank)
        real = search.spelled(trie, text, size) if spelled else jnp.ones_like(size, bool)
        return text, size, jnp.exp(-nats), real

    def given(key, state, batch):  # the text, and where the data know it the true one
        text = batch['text'], batch['text_length']
        true = batch.get('true_text', text[0]), batch.get('true_text_length', text[1])
        return *text, *true

    def rule(key, state, sweep):
        """Reads all lines, keeps what is likely and spelled as words are, for the next round."""
        text, size, chance, real = map(jnp.asarray, sweep(reading, state))
        told, told_size, true, true_size = map(jnp.asarray, sweep(given, state))
        asked = told_size == 0  # lines without a text
        likely = asked & (size > 0) & (chance >= threshold)
        kept = likely & real
        metrics = {
            'accepted': kept.sum() / jnp.maximum(asked.sum(), 1),
            'misspelled': (likely & ~real).sum() / jnp.maximum(likely.sum(), 1),
        }
        if 'true_text' in run.row:
            right = kept & (size == true_size) & (text == true).all(1)
            metrics['purity'] = right.sum() / jnp.maximum(kept.sum(), 1)
        text = jnp.where(asked[:, None], text, told)
        size = jnp.where(asked, jnp.where(kept, size, 0), told_size)
        return state.remember(text=text, size=size, round=state.memory['round'] + 1), metrics

    length = max(int(epochs * run.steps_per_epoch), 1)
    refresh = Refresh(rule, every(length, length), restarts=('net',))
    rows = ('text', 'size')
    return Method(
        init, {'net': Turn(loss)}, None, refresh, {'transcribe': transcribe}, by_rows=rows
    )
