"""Pairs verified, maps of the plane, latents foreseen: by hand, and by who knows nothing."""

import numpy as np
import pytest
import toys

from ssljax.evals.verification import equal
from ssljax.names import Mistake


def pairs(distance, same):
    x = np.zeros((len(distance), 1), 'f')
    rows = dict(x=x, y=np.asarray(distance, 'f')[:, None], same=np.asarray(same))
    return toys.subject(toys.source(train=rows, test=rows), encode=lambda b: b['x'])[0]


def test_the_equal_error_rate_by_hand():
    # at 3: of four true pairs 4 is refused, of four false ones 3 is accepted
    distance, same = [1, 2, 2.5, 4, 3, 5, 6, 7], [True] * 4 + [False] * 4
    scores = toys.score('verification', pairs(distance, same))
    assert scores['error'] == pytest.approx(25)
    assert scores['missed'] == 25  # 4 lies above 3.06
    # twice as many false pairs change nothing
    more = toys.score('verification', pairs(distance + [3, 5, 6, 7], same + [False] * 4))
    assert more['error'] == pytest.approx(25)
    apart = toys.score('verification', pairs([1, 2, 8, 9], [True, True, False, False]))
    assert apart['error'] == 0


def test_distances_that_tell_nothing_are_wrong_half_the_time():
    random = np.random.default_rng(0)
    scores = toys.score('verification', pairs(random.random(4000), random.random(4000) < 0.3))
    assert abs(scores['error'] - 50) < 3
    assert equal(np.ones(6), np.arange(6) < 3) == 1  # all alike: all are accepted
    with pytest.raises(Mistake, match='needs y, same'):
        toys.score('verification', toys.subject(toys.labeled(), encode=lambda b: b['x'])[0])


def test_neighbors_in_the_plane_are_by_distance_not_by_angle():
    """Rings: of one angle are rows of all classes."""
    random = np.random.default_rng(0)
    angle, label = random.random(300) * 2 * np.pi, np.arange(300) % 3
    x = (1 + label)[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1).astype('f')
    rows = dict(x=x.astype('f'), label=label.astype(np.int32))
    saved = {}
    who = toys.subject(toys.source(train=rows, test=rows), encode=lambda b: b['x'])[0]
    who = who._replace(save=lambda name, picture: saved.update({name: picture}))
    assert toys.score('plane', who)['accuracy'] > 95
    picture = np.asarray(saved['plane'])
    assert picture.shape == (640, 640, 3) and 0.01 < (picture < 200).any(-1).mean() < 0.5
    far = who._replace(readouts={'encode': lambda b: np.ones((len(b['x']), 3), 'f')})
    assert toys.score('plane', far)['accuracy'] < 60


def test_a_place_counts_where_it_was_foreseen():
    """Three rows, two places: right of row 0 only, and place 0 was not foreseen."""
    z = np.eye(3)[:, None].repeat(2, 1)  # [3, 2, 3]
    p = np.stack([np.zeros((3, 3)), z[[0, 0, 0], 1]], 1)  # all say row 0
    told = np.stack([z, p, 0 * p], 2).astype('f')
    who = toys.subject(toys.labeled(), foresee=lambda b: told[: len(b['x'])])[0]
    scores = toys.score('ahead', who, among=3, size=3)
    assert scores['accuracy_1'] == pytest.approx(100 / 3) == scores['chance']
    assert 'accuracy_2' not in scores
    with pytest.raises(Mistake, match='predicts nothing'):
        toys.score('ahead', who._replace(readouts={'foresee': lambda b: 0 * told}), among=3, size=3)
