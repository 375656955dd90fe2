"""What is wanted of a sequence: rewards to raise, and conditions to satisfy."""

from dnamdlm.rewards.combined_rewards import FunctionReward, MeanReward, Product, WeightedSum
from dnamdlm.rewards.conditions import (
    Condition,
    ForbiddenWord,
    GcShare,
    LongestRun,
    NotLike,
    RequiredWord,
)
from dnamdlm.rewards.reward import CountedReward, Reward, rewards_of
from dnamdlm.rewards.sequence_rewards import EditDistance, GcWindow, MotifCount
from dnamdlm.rewards.tilting import effective_size, systematic_places, tilted_shares

__all__ = [
    "Condition", "CountedReward", "EditDistance", "ForbiddenWord", "FunctionReward", "GcShare",
    "GcWindow", "LongestRun", "MeanReward", "MotifCount", "NotLike", "Product", "RequiredWord",
    "Reward", "WeightedSum", "effective_size", "rewards_of", "systematic_places", "tilted_shares",
]  # fmt: skip
