"""CTC: a net reads lines without being told where their characters are.

Graves et al. 2006 (ICML).
"""

import jax
import jax.numpy as jnp

from ssljax import augment, search
from ssljax.kinds import Natural, NetSpec, ViewSpec
from ssljax.losses import sequence
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def ctc(
    run: Run,
    *,
    encoder: NetSpec = dict(name='line_lstm'),
    view: ViewSpec = dict(name='identity'),  # it may not move columns: their number is known
) -> Method:
    if not run.vocab or 'text' not in run.row:
        raise Mistake('ctc needs lines with texts, and this data has none; type data.name=lines')
    blank = run.vocab  # a class more than there are tokens
    head = dict(name='mlp', dims=(blank + 1,))
    nets = Nets(encoder=encoder, head=head, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x, length):  # -> logits [B, T, V + 1]
        return net.head(net.encoder(x, length))

    def columns(batch):  # [B], how many of the W columns are meant
        x = batch['x']
        return batch.get('length', jnp.full(len(x), x.shape[2]))

    def frames(batch, logits):  # [B], how many of the T frames are
        return -(-columns(batch) * logits.shape[1] // batch['x'].shape[2])

    def against(batch, logits):  # what CTC is told besides the text
        return dict(length=frames(batch, logits), text_length=batch.get('text_length'), blank=blank)

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        x = augment.views(view, k1, batch['x'], 1)
        params, _, _ = nets.init(k2, forward, x, columns(batch))
        return params, {}

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        x = augment.views(view, k1, batch['x'], 1)
        net = nets(state.params, train=True, key=k2)  # the key is for dropout
        logits = forward(net, x, columns(batch))
        # a text that is too long for its frames teaches nothing
        options = against(batch, logits) | dict(zero_infinity=True)
        return sequence.ctc(logits, batch['text'], **options).mean(), state.memory, {}

    def read(state, batch):
        return forward(nets(state.params), batch['x'], columns(batch))

    def transcribe(key, state, batch, *, beam: Natural = 0):  # 0: the best path
        logits = read(state, batch)
        length = frames(batch, logits)
        if beam:
            return search.prefix_beam(logits, length=length, beam=beam)[0]
        return search.best_path(logits, length=length)

    def align(key, state, batch):
        """Posteriors of the frames, without and with the text, and where its tokens are then."""
        logits = read(state, batch)
        told = against(batch, logits)
        inside = jnp.arange(logits.shape[1]) < told['length'][:, None]
        frame = sequence.ctc_positions(logits, batch['text'], **told)
        wide = batch['x'].shape[2] / logits.shape[1]  # columns of a frame
        sizes = batch.get('text_length', jnp.full(len(frame), frame.shape[1]))
        meant = jnp.arange(frame.shape[1]) < sizes[:, None]
        return {
            'posteriors': jnp.where(inside[..., None], jax.nn.softmax(logits), 0),
            'aligned': sequence.ctc_posteriors(logits, batch['text'], **told),
            'positions': jnp.where(meant, (frame + 0.5) * wide, 0),
        }

    return Method(init, {'net': Turn(loss)}, readouts={'transcribe': transcribe, 'align': align})
