"""Models judged from their logits: arrays, memory maps and files, in constant memory."""
