"""Addresses of windows in a training sequence, against a search of all of them."""

import numpy as np
import pytest

from dnamdlm.words.pointers import PointerIndex

N = 4


def reverse(codes):
    return np.where(codes[::-1] < N, 3 - codes[::-1], N).astype(np.uint8)


@pytest.fixture(scope="module")
def codes():
    """Two parts with a copy, a copy with substitutions and one on the other strand."""
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 4, 300).astype(np.uint8) for _ in range(2)]
    parts[0][200:260] = parts[0][20:80]
    parts[1][100:160] = reverse(parts[0][20:80])
    parts[1][200:260] = parts[0][20:80]
    parts[1][215] = (parts[1][215] + 1) % 4
    return np.concatenate([parts[0], [np.uint8(N)], parts[1]])


@pytest.fixture(scope="module")
def index(codes):
    return PointerIndex.of_codes(codes, 8)


def strands(codes):
    """What the addresses count: the sequence with N at its end, then its other strand."""
    whole = np.append(codes, np.uint8(N))
    return [whole, reverse(whole)]


def best_by_search(codes, window, word, own=(0, 0)):
    """Most matches of any address whose template shares a word with the window in its place."""
    best, count, size = (-1, 0), 0, len(codes) + 1
    for number, strand in enumerate(strands(codes)):
        padded = np.concatenate([strand, np.full(len(window), N, np.uint8)])
        for at in range(size):
            template = padded[at : at + len(window)]
            same = (template == window) & (window < N)
            first = size - at - len(window) if number else at
            if max(first, own[0]) < min(first + len(window), own[1]):
                continue
            runs = np.convolve(same, np.ones(word, int), "valid")
            if runs.max() < word:
                continue
            if same.sum() > best[1]:
                best, count = (at + number * size, int(same.sum())), 0
            count += same.sum() == best[1]
    return best, count


def test_the_best_address_is_that_of_a_search(codes, index):
    rng = np.random.default_rng(1)
    windows = [codes[20:60], codes[205:245], reverse(codes[120:160]), codes[330:370]]
    windows += [codes[30:70].copy(), rng.integers(0, 4, 40).astype(np.uint8)]
    windows[4][[2, 19, 20, 33]] = 3 - windows[4][[2, 19, 20, 33]]
    found = index.find(np.stack(windows))
    for row, window in enumerate(windows):
        (address, matches), _ = best_by_search(codes, window, 8)
        assert found.matches[row] == matches
        assert found.addresses[row] == address


def test_addresses_with_the_same_template_are_counted(codes, index):
    found = index.find(codes[None, 22:62])
    # two on one strand and one on the other; the fourth has a substitution.
    assert found.copies.tolist() == [3]


def test_templates_are_read_on_either_strand_and_end_with_n(codes, index):
    size = index.num_addresses // 2
    forward, backward = strands(codes)
    addresses = np.array([0, 290, size - 3, size, 2 * size - 5])
    templates = index.templates(addresses, 20)
    both = [np.concatenate([strand, np.full(20, N, np.uint8)]) for strand in (forward, backward)]
    for address, template in zip(addresses, templates, strict=True):
        strand, at = divmod(address, size)
        assert template.tolist() == both[strand][at : at + 20].tolist()


@pytest.mark.parametrize("turned", [False, True], ids=["forward", "turned"])
@pytest.mark.parametrize("start", [0, 20, 25, 190, 205, 261, 320, 395, 401, 530])
def test_no_template_overlaps_the_places_of_its_own_window(codes, index, start, turned):
    window = codes[start : start + 40]
    window = reverse(window) if turned else window
    own = np.array([[[start, start + 40], [0, 0]]])
    found = index.find(window[None], own)
    (_, matches), _ = best_by_search(codes, window, 8, (start, start + 40))
    assert found.matches[0] == matches
    if found.found[0]:
        ((first, end),) = index.spans(found.addresses, 40)
        assert end <= start or first >= start + 40
    # without the exclusion a window points to itself.
    assert index.find(window[None]).matches[0] == (window < N).sum()


def test_a_window_of_a_tandem_repeat_does_not_point_to_the_units_that_it_overlaps():
    rng = np.random.default_rng(2)
    ends = [rng.integers(0, 4, 60).astype(np.uint8) for _ in range(2)]
    codes = np.concatenate([ends[0], np.tile(np.array([0, 2, 1, 3, 1, 0], np.uint8), 12), ends[1]])
    index = PointerIndex.of_codes(codes, 8)
    start, size = 78, 30
    window = codes[start : start + size]
    found = index.find(window[None], np.array([[[start, start + size]]]))
    (address, matches), _ = best_by_search(codes, window, 8, (start, start + size))
    assert (found.addresses[0], found.matches[0]) == (address, matches)
    ((first, end),) = index.spans(found.addresses, size)
    assert end <= start or first >= start + size
    # one unit further, mostly on the window itself, all bases agree.
    assert (codes[start + 6 : start + 6 + size] == window).all()


def test_repeats_are_words_that_occur_anywhere_else(codes, index):
    spans = np.array([[0, 28], [0, 29], [73, 100], [80, 199], [420, 428], [5, 5]])
    # the copy begins at 20; its first word ends at 28, its last begins at 72.
    expected = []
    whole = strands(codes)[0]
    words = {}
    for at in range(len(whole) - 7):
        word = tuple(whole[at : at + 8])
        if N not in word:
            words.setdefault(min(word, tuple(reverse(np.array(word)))), []).append(at)
    repeated = {at for places in words.values() if len(places) > 1 for at in places}
    for first, end in spans:
        expected.append(any(at in repeated for at in range(first, max(end - 7, first))))
    assert index.has_repeats(spans).tolist() == expected
    assert expected[0]
    assert not expected[5]


def test_a_window_of_n_points_nowhere(index):
    found = index.find(np.full((2, 40), N, np.uint8))
    assert not found.found.any()
    assert found.copies.tolist() == [0, 0]


def test_a_sequence_without_words_has_no_addresses_to_find():
    index = PointerIndex.of_codes(np.full(10, N, np.uint8), 4)
    assert not index.find(np.zeros((1, 8), np.uint8)).found.any()
