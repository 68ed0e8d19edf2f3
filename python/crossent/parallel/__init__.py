"""Losses of logits whose classes or rows are split over processes."""
