// Losses of rows whose classes are in several places, the shards. Each has some classes of all rows.
//
// A shard leaves the numbers of subtrees of the merge tree over blocks of 1024 classes. The first class of a block must be a
// multiple of 1024 for that; where a shard is not aligned, its blocks are counted from its first class, and all come to one
// subtree. Subtrees that are neighbours are merged to one, in whatever place; the one that all come to has what the losses of the
// rows need, and with the logits of a shard the gradient there. Aligned shards give the bits of one place.
#pragma once

#include "crossent/crossent.hpp"

namespace crossent {

// What is known of a subtree of the classes of a row.
struct subtree_format {
  bool extended = false;  // the arithmetic is that of float64
  bool smoothed = false;  // with label smoothing
  bool probabilities = false;  // with class probabilities

  constexpr index numbers() const {
    return 4 + (extended ? 2 : 0) + (smoothed || probabilities ? 1 : 0) + (smoothed ? 4 : 0) + (probabilities ? 7 : 0);
  }
};

// Of the logits' dtype, and of temperature, label_smoothing, weight and shard.classes.
subtree_format format_of(dtype logits, bool probabilities, const row_loss_options& options, const execution& = {});

// Of options: axis, temperature, shard; with a target (one of indices and probabilities may be given) ignore_index,
// label_smoothing and weight. block_counts: of the subtrees, in their order; their sum is that of all blocks of the logits.
// out: subtrees * format_of(..).numbers() * rows doubles, as that product is nested; target_logits: of each row, of its target, 0 where
// that is not here; nullptr with probabilities, or without a target.
void shard_subtrees(const view& logits, const index_view& indices, const view& probabilities, const row_loss_options& options,
                    const index* block_counts, index subtrees, double* out, double* target_logits, const execution& = {});

// Two subtrees as one, a being before b: format.numbers() * rows doubles each. out may be a or b.
void merge_subtrees(const subtree_format&, index rows, double temperature, const double* a, const double* b, double* out,
                    const execution& = {});

// What the shards of all classes have come to.
struct whole_rows {
  subtree_format format;
  index rows = 0;
  const double* subtree = nullptr;
  const double* target_logits = nullptr;  // the sum of those of the shards
  bool one_block = false;  // whether the rows are one, in one shard
};
// As cross_entropy. Either of the outputs may be absent; without grad.data the logits, the first class of the shard and the
// probabilities are not read. grad: of the shard's logits.
void cross_entropy_of_shards(const whole_rows&, const view& logits, const index_view& indices, const view& probabilities,
                             const row_loss_options&, const mutable_view& loss, const mutable_view& grad,
                             const execution& = {});

}  // namespace crossent
