"""Whatever is wrong with a text of YAML is one kind of error."""

import pytest

from dnamdlm.data.yaml_text import YamlError, read_yaml_text

_LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
)


@pytest.mark.parametrize(
    "text",
    [
        "a: [1", "a: 1\n- b", "[" * 100_000, "9" * 5000, "a: 2001-99-99", "!!timestamp x",
        "!!int ''", "!!bool x", "!!python/object:os.system x", "? [a]\n: b", "&a [*a]",
        "&a {x: *a}", _LAUGHS,
    ],
    ids=[
        "cut", "mixed", "lists", "digits", "date", "timestamp", "no number", "no truth", "class",
        "list as key", "list in itself", "mapping in itself", "aliases of aliases",
    ],
)  # fmt: skip
def test_a_broken_text_is_a_yaml_error(text):
    with pytest.raises(YamlError):
        read_yaml_text(text)


def test_a_value_is_read():
    assert read_yaml_text("a: [1, null, b]\nb: {c: 1.5}") == {"a": [1, None, "b"], "b": {"c": 1.5}}
