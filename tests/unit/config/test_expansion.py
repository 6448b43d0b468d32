"""`${NAME}` is replaced exactly as existing configurations rely on."""

from __future__ import annotations

import pytest

from offload_core.config.expansion import ExpansionError, expand

ENVIRON = {"V": "value", "EMPTY": "", "DOLLAR": "${V}"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${V}", "value"),
        ("a${V}b${V}", "avaluebvalue"),
        ("${V:-d}", "value"),
        ("${NONE:-d}", "d"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b}", "a:-b"),
        ("${EMPTY:-d}", ""),
        ("${EMPTY}", ""),
        ("$$", "$"),
        ("$${V}", "${V}"),
        ("$$${V}", "$value"),
        ("$", "$"),
        ("$V costs $5", "$V costs $5"),
        ("${DOLLAR}", "${V}"),
    ],
)
def test_references_are_replaced(text: str, expanded: str) -> None:
    """Required, with a default, escaped, and a lone dollar; what a variable holds is not expanded again."""
    assert expand(text, ENVIRON) == expanded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${NONE}", "the variable NONE is not set"),
        ("${}", "names no variable"),
        ("x${V", "unclosed"),
        ("${:-d}", "no var"),
    ],
)
def test_what_cannot_be_expanded_is_an_error(text: str, words: str) -> None:
    """A required variable that is not set, and malformed references."""
    with pytest.raises(ExpansionError, match=words):
        expand(text, ENVIRON)
