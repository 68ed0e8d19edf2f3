// The inputs of a row besides its logits: class index, weights, upstream gradient.
#pragma once

#include <atomic>
#include <limits>

#include "core/layout.hpp"
#include "core/parallel.hpp"
#include "rows/row_buffer.hpp"

namespace crossent {

// One number per row from a strided array of the rows' shape; 1 where there is none.
class row_values {
 public:
  row_values() = default;
  // Rounded to the dtype of the arithmetic.
  row_values(const view& v, dtype arithmetic)
      : data_(static_cast<const char*>(v.data)),
        type_(v.type),
        arithmetic_(arithmetic),
        rows_(v.ndim, v.shape, v.strides, -1) {}
  bool given() const { return data_ != nullptr; }
  void load(index first, index count, double* out) const;

 private:
  const char* data_ = nullptr;
  dtype type_ = dtype::float64, arithmetic_ = dtype::float64;
  row_layout rows_;
};

// Whether labels are smoothed, over classes of which some have a weight.
bool smooths(const row_loss_options&, index classes, const execution&);

// The weights of all rows and, if targets are indices, their classes, checked.
class targets {
 public:
  static constexpr index ignored = -1;
  // Of some rows: how many are ignored, and how many have a class that does not exist.
  struct tally {
    index absent = 0, bad = 0;
  };

  // target.data == nullptr: rows have no class. arithmetic: of the logits. writes: whether there is a gradient. Throws
  // target_error where the targets are checked first: where the denominator of a mean is a sum over weights or wanted for the
  // gradient, and where that is an array of the caller's. Else they are checked as they are loaded, all of them, and
  // `throw_if_bad` and `denominator` come after that.
  targets(const index_view& target, index rows, const row_loss_options&, index classes, dtype arithmetic, bool writes,
          const execution&);
  void throw_if_bad() const;

  // count <= batch_rows. y: the class, or `ignored`; class_weight: w[y], 1 without classes; row_weight: v, 0 for rows that
  // are not there: ignored ones and, unless `all` are asked for, those that no coefficient reaches.
  void load(index first, index count, index* y, double* class_weight, double* row_weight, bool all = false) const;

  // The classes of any number of rows: `ignored`, or another negative number, where there is none.
  tally read(index first, index count, index* y) const;

  // The classes of rows from `first` on: where they are in memory, or in `buffer`, which has room for `count`. `ignored` marks
  // rows that are not there, unless it is a class.
  struct class_run {
    const index* y;
    index count, ignored;
  };
  class_run classes(index first, index count, index* buffer) const;
  // Rows found to be ignored by who reads `classes`.
  void add_ignored(index rows) const;

  // Of a mean: the one given, or the sum of v w[y] over the rows not ignored; of v alone for a divergence. Otherwise those of the
  // options, which are 1 but with block_sums.
  double denominator(const execution& e) const { return denominator(true, e); }
  double divergence_denominator(const execution& e) const { return denominator(false, e); }
  // The sums of v w[y], or of v alone, of blocks of rows.
  void sum_blocks_of_weights(bool with_class_weights, double_double<double>* sums, const execution&) const;

  double weight(index c) const { return weights_ == nullptr ? 1.0 : weight_at(c); }
  bool smoothed() const { return smoothed_; }
  index rows() const { return count_; }

 private:
  double weight_at(index c) const;
  void check(const execution&);
  double denominator(bool with_class_weights, const execution&) const;
  row_buffer weights_of_rows(bool with_class_weights, const execution&) const;
  void note_bad(index first, index count, const index* y) const;

  const char* data_;
  int_dtype type_;
  index count_;
  row_layout rows_;
  index classes_;
  bool has_ignore_;
  std::int64_t ignore_;
  bool smoothed_, has_other_terms_;
  bool is_mean_;
  double given_denominator_, denominators_[2];   // for false and true in place of with_class_weights
  const char* weights_;
  dtype weight_type_;
  index weight_stride_;
  row_values sample_weight_;
  bool checked_ = false;
  mutable std::atomic<index> ignored_rows_{0}, first_bad_{std::numeric_limits<index>::max()};
};

// The upstream gradient of each row: grad_output over the denominator of the mean.
class upstream {
 public:
  // divisor: 1 where there is no mean. A mean over nothing has no gradient.
  upstream(const view& grad_output, dtype arithmetic, double divisor)
      : grad_output_(grad_output, arithmetic), divisor_(divisor) {}
  // g[i] = grad_output of row first + i, 0 where the row weight is. count <= batch_rows.
  void load(index first, index count, const double* row_weight, double* g) const;
  // The same for rows that are all there, in `buffer`; nullptr where all are 1.
  const double* load(index first, index count, double* buffer) const;
  double divisor() const { return divisor_ == 0 ? 1 : divisor_; }

 private:
  row_values grad_output_;
  double divisor_;
};

}  // namespace crossent
