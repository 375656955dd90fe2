"""Networks from token ids to logits; they know no schedule, tokenizer or config tree."""
