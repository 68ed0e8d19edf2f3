// Losses of rows whose classes are in several places, the shards. Each has some classes of all rows.
//
// A shard leaves partial states, each of a subtree of the merge tree over blocks of 1024 classes. The first class of a block must
// be a multiple of 1024 for that; where a shard is not aligned, its blocks are counted from its first class, and all come to one
// state. Those of neighbours are merged to one, in whatever place; the merged state of all classes has what the losses of the rows
// need, and with the logits of a shard the gradient there. Aligned shards give the bits of one place.
#pragma once

#include "crossent/crossent.hpp"

namespace crossent {

// Which numbers a state has of each row.
struct partial_state_format {
  bool extended = false;  // the arithmetic is that of float64
  bool smoothed = false;  // with label smoothing
  bool probabilities = false;  // with class probabilities
  bool entropy = false;  // with an entropy_weight
  double temperature = 1;  // of the exponentials

  index numbers() const;
};

// Of the logits' dtype, and of temperature, label_smoothing, weight, entropy_weight and shard.classes.
partial_state_format format_of(dtype logits, bool probabilities, const row_loss_options& options, const execution& = {});

// Of options: axis, temperature, shard; with a target (one of indices and probabilities may be given) ignore_index,
// label_smoothing, weight and entropy_weight. block_counts: of the subtrees, in their order; their sum is that of all blocks of the logits.
// out: subtrees * format_of(..).numbers() * rows doubles, as that product is nested; target_logits: of each row, of its target, 0 where
// that is not here; nullptr with probabilities, or without a target.
void partial_states_of_shard(const view& logits, const index_view& indices, const view& probabilities,
                             const row_loss_options& options, const index* block_counts, index subtrees, double* out,
                             double* target_logits, const execution& = {});

// Two neighbours as one, a being before b: format.numbers() * rows doubles each. out may be a or b.
void merge_partial_states(const partial_state_format&, index rows, const double* a, const double* b, double* out,
                          const execution& = {});

// The state of all classes.
struct merged_state {
  partial_state_format format;
  index rows = 0;
  const double* columns = nullptr;
  const double* target_logits = nullptr;  // the sum of those of the shards
};
// As cross_entropy. Either of the outputs may be absent; without grad.data the logits, the first class of the shard and the
// probabilities are not read. grad: of the shard's logits.
void cross_entropy_of_shards(const merged_state&, const view& logits, const index_view& indices, const view& probabilities,
                             const row_loss_options&, const mutable_view& loss, const mutable_view& grad,
                             const execution& = {});

// A divergence needs the merged states of both rows for its own sums over the classes, which are merged then. The states of the
// student and of the teacher are without targets, at the temperature of the divergence.
// Of row_loss_options: axis, transform and the first class of the shard.
// sums: subtrees * (2 rows, 2) doubles, hi and lo of a sum each, which are merged along the tree as merge_sums does.
void divergence_sums_of_shard(const merged_state& student, const merged_state& teacher, const view& logits,
                              const view& teacher_logits, const divergence_options&, const row_loss_options&,
                              const index* block_counts, index subtrees, double* sums, const execution& = {});

struct shards_of_distillation {
  merged_state student, teacher;
  merged_state cross_entropy;  // at the temperature 1, with a target, where the student has another one; or none
  const double* sums = nullptr;  // over all classes
};
// As distillation_loss with alpha > 0. Without grad.data no logits and probabilities are read.
void distillation_of_shards(const shards_of_distillation&, const view& logits, const view& teacher_logits,
                            const index_view& indices, const view& probabilities, const distillation_options&,
                            const divergence_options&, const row_loss_options&, const mutable_view& loss,
                            const mutable_view& grad, const execution& = {});

// What a shard says of rows whose statistics are known, for `predict_of_shards`.
struct shard_predictions {
  index subtrees = 0;
  double* sums;  // subtrees * (2 rows, 2), as those of a divergence
  index* ahead = nullptr;  // how many classes have a larger logit than the target, or an equal one and a lower index
  index k = 1;  // of each row the classes of the largest logits, and these; -1 and NaN where there are fewer
  index* top_classes;
  double* top_logits;
};
// Of options: axis, shard, transform and, with a target, ignore_index.
void predict_shard(const merged_state&, const view& logits, const index_view& target, const row_loss_options&,
                   const index* block_counts, const shard_predictions& out, const execution& = {});

// What the shards have said: the sums merged along the tree, `ahead` added up, and the k classes of the largest logits.
struct merged_predictions {
  merged_state rows;
  const double* sums = nullptr;
  const index* ahead = nullptr;
  index k = 1;  // at least that of the predictions, and 1
  const index* top_classes = nullptr;
  const double* top_logits = nullptr;
};
// As predict, without logits. Of options: shard.classes in place of axis and temperature.
void predict_of_shards(const merged_predictions&, const index_view& target, const row_loss_options&, const predictions& out,
                       const execution& = {});

// out = exp(x/T) / sum exp(x/T), and its logarithm, of the classes that are here. Of options: axis, transform and shard.
void softmax_of_shard(const merged_state&, const view& logits, const row_loss_options&, const mutable_view& out,
                      const execution& = {});
void log_softmax_of_shard(const merged_state&, const view& logits, const row_loss_options&, const mutable_view& out,
                          const execution& = {});
// out = log sum exp(x/T); out: the rows' shape, the arithmetic dtype
void logsumexp_of_shards(const merged_state&, const mutable_view& out, const execution& = {});

}  // namespace crossent
