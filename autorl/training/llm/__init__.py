"""The backend `llm`: RL with verifiable rewards for language models."""

from autorl.training.llm.backend import LlmBackend

__all__ = ["LlmBackend"]
