"""Word vectors: values by hand, and the optimum that is known."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.losses import cbow, skip_gram


def test_by_hand():
    v, u, noise = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, -1.0]]), jnp.array([[[0.0, 1.0]]])
    by_hand = np.log1p(np.exp(-1.0)) + np.log1p(np.exp(2.0))  # products 1 and 2
    np.testing.assert_allclose(skip_gram(v, u, noise), by_hand, rtol=1e-6)
    around = jnp.array([[[0.0, 4.0], [2.0, 0.0], [50.0, 50.0]]])  # the mean of the first two is v
    found = cbow(around, u, noise, where=jnp.array([[True, True, False]]))
    np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    nobody = cbow(around, u, noise, where=jnp.zeros((1, 3), bool))
    np.testing.assert_allclose(nobody, 2 * np.log(2), rtol=1e-6)


def test_the_best_product_is_the_shifted_mutual_information():
    """Levy & Goldberg 2014: log p(w, c) / (p(w) p(c)) - log M, where the expected slope is zero."""
    joint = np.array([[0.3, 0.1], [0.2, 0.4]])  # of words and neighbors
    word, neighbor, M = joint.sum(1), joint.sum(0), 3
    best = np.log(joint / np.outer(word, neighbor)) - np.log(M)
    eye = jnp.eye(2)  # one vector for each neighbor: the products are the word's coordinates

    def expected(table):
        total = 0.0
        for w in range(2):
            for c in range(2):
                for drawn in range(2):  # M independent draws cost M times what one does
                    one = skip_gram(table[w][None], eye[c][None], eye[drawn][None, None])
                    none = skip_gram(table[w][None], eye[c][None], jnp.zeros((1, 1, 2)))
                    noise = one - none + jnp.log(2.0)
                    total += joint[w, c] * neighbor[drawn] * (none - jnp.log(2.0) + M * noise)[0]
        return total

    slope = jax.jit(jax.grad(expected))
    np.testing.assert_allclose(slope(jnp.asarray(best, jnp.float32)), 0, atol=1e-6)
    assert np.abs(slope(jnp.asarray(best + 0.1, jnp.float32))).max() > 1e-3
