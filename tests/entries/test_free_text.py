"""A prompt on the command line is text, whatever Hydra's grammar makes of it."""

import hydra
import pytest

from dnamdlm.command_line import config_folder, quoted_text


@pytest.mark.parametrize(
    "prompt",
    ["To be, or not", "it's {odd}", "12", "a=b [MASK*3]", "$5: \\ tail\\", "back\\'slash", "'"],
)
def test_a_prompt_arrives_as_it_was_typed(prompt):
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        argument = quoted_text(f"prompt={prompt}") if prompt != "'" else quoted_text('prompt="\'"')
        config = hydra.compose(config_name="sample", overrides=[argument, "model=x", "out=y"])
    assert config.prompt == prompt


def test_other_arguments_and_quoted_prompts_stay():
    for argument in ("seed=1", "prompt=null", "prompt='a, b'", "+debug"):
        assert quoted_text(argument) == argument
