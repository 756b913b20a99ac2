"""Word links judged by people's: by hand on a verse, and by a method that is always right."""

from __future__ import annotations

import pytest

from experiments.alignment.aligners import WAYS, aligned
from experiments.alignment.gold import Gold, Score, gold, score
from experiments.data.bibles import LinkedVerse, links, read_verse
from limelight.errors import InputError
from limelight.text.segmentation import words

ENGLISH = 'The <w lemma="strong:H1">sky</w>, <w lemma="strong:H2">he saw</w> <w lemma="strong:H3">God</w>.'
SPANISH = (
    '<w lemma="strong:H2">Vio</w> <w lemma="strong:H3">Dios</w> '
    '<w lemma="strong:H1">los cielos,</w> y <w lemma="strong:H4">x</w>.'
)


def by_hand() -> Gold:
    source, target = read_verse(ENGLISH), read_verse(SPANISH)
    verse = LinkedVerse("Gen.1.1", source, target, links(source, target))
    # The(0) sky(1) ,(2) he(3) saw(4) God(5) .(6)      Vio(0) Dios(1) los(2) cielos(3) ,(4) y(5) x(6) .(7)
    return gold(verse, words(target.text), words(source.text))


def test_gold_of_a_verse() -> None:
    found = by_hand()
    assert found.sure == {(1, 5)}
    assert found.possible == {(1, 5), (0, 3), (0, 4), (2, 1), (3, 1)}
    assert found.judged == {0, 1, 2, 3}
    assert found.untold == {(t, s) for t in (2, 3) for s in (0, 2, 6)}


def test_a_link_to_two_phrases_is_possible_only() -> None:
    one = read_verse('<w lemma="strong:G1">Jesus</w> <w lemma="strong:G2">Christ</w>')
    other = read_verse('<w lemma="strong:G1 strong:G2">Jesucristo</w>')
    found = gold(LinkedVerse("v", one, other, links(one, other)), words(other.text), words(one.text))
    assert (found.sure, found.possible) == (frozenset(), {(0, 0), (0, 1)})


def test_the_score_by_hand() -> None:
    # los→The is not known of; y→sky is of a word that nobody links; Vio→sky is wrong
    found = score([(0, 4), (0, 1), (1, 5), (2, 0), (3, 1), (5, 1)], by_hand())
    assert found == Score(links=4, in_sure=1, in_possible=3, sure=1)
    assert (found.precision, found.recall) == (3 / 4, 1.0)
    assert found.error_rate == pytest.approx(1 - (1 + 3) / (4 + 1))
    nothing = score([], by_hand())
    assert (nothing.precision, nothing.recall, nothing.error_rate) == (0.0, 0.0, 1.0)
    assert found + nothing == Score(4, 1, 3, 2)
    assert Score().error_rate == 1.0


def test_all_possible_links_have_no_error() -> None:
    assert score(by_hand().possible, by_hand()).error_rate == 0.0


def test_an_aligner_learns_words_that_change_places() -> None:
    pytest.importorskip("thot")
    names = ["a", "b", "c", "d", "e", "f", "g"]
    pairs = [
        ([names[i], names[j], names[k]], [names[k].upper(), names[i].upper(), names[j].upper()])
        for i in range(7)
        for j in range(7)
        for k in range(7)
        if len({i, j, k}) == 3
    ]
    heard: list[float] = []
    found = aligned("fast_align", pairs, [3, 101], heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    for way in WAYS:
        assert [sorted(each) for each in found[way]] == [[(0, 2), (1, 0), (2, 1)]] * 2
    with pytest.raises(InputError, match="one of fast_align, eflomal"):
        aligned("giza", pairs, [0])
