"""What `vaegan prepare` measures on crops: the search for near-duplicates finds what comparing all pairs finds."""

import numpy as np
import pytest

from vaegan.data.quality import is_grey, near_across, near_duplicates


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) differing bits, every pair compared."""
    return np.unpackbits(first[:, None] ^ second[None], axis=2).sum(2)


@pytest.fixture(scope="module")
def hashes() -> np.ndarray:
    """150 random hashes, as many copies of some of them with 0 to 29 bits changed, and some exact repetitions."""
    generator = np.random.default_rng(0)
    base = generator.integers(0, 256, (150, 32), dtype=np.uint8)
    changed = np.unpackbits(base[generator.integers(0, 40, 150)], axis=1)
    for row in changed:
        row[generator.choice(256, generator.integers(0, 30), replace=False)] ^= 1
    together = np.concatenate([base, np.packbits(changed, axis=1), base[:9], base[:9]])
    return together[generator.permutation(len(together))]


@pytest.mark.parametrize("near", [0, 1, 7, 20])
def test_each_near_duplicate_is_paired_with_its_first_match(hashes, near):
    alike = np.tril(distances(hashes, hashes) <= near, -1)
    expected = [(int(row.argmax()), i) for i, row in enumerate(alike) if row.any()]
    assert near_duplicates(hashes, near) == expected and len(expected) >= 18


def test_each_picture_is_paired_with_its_nearest_in_another_split(hashes):
    first, second = hashes[:120], hashes[120:]
    apart = distances(second, first)
    expected = [(int(row.argmin()), j) for j, row in enumerate(apart) if row.min() <= 20]
    assert near_across(first, second) == expected and len(expected) > 20


def test_many_equal_pictures_take_no_longer_than_different_ones():
    same = np.zeros((50_000, 32), np.uint8)
    assert near_duplicates(same)[-1] == (0, 49_999)
    assert near_across(same, same)[-1] == (0, 49_999)
    assert near_duplicates(same[:0]) == near_across(same[:0], same) == []


def test_grey_pictures_are_told_from_coloured_ones():
    generator = np.random.default_rng(0)
    grey = generator.integers(0, 256, (40, 40, 1), dtype=np.uint8).repeat(3, 2)
    assert is_grey(grey)
    assert is_grey(np.clip(grey + np.array([2, 0, -2]), 0, 255).astype(np.uint8))
    assert not is_grey(np.clip(grey + np.array([12, 0, -12]), 0, 255).astype(np.uint8))
