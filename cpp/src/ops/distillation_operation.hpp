// The steps of a distillation: of a divergence, of a cross-entropy beside it, and of the gradient that both make.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "ops/cross_entropy_term.hpp"
#include "ops/divergence_term.hpp"

namespace crossent {

struct distillation_batch : batch_state {
  cross_entropy_state cross_entropy;   // without the term, it has the classes and weights of the rows
  divergence_state divergence;
};

class distillation_operation : public row_operation<distillation_batch> {
 public:
  double* divergence_losses = nullptr;   // of every row, in C order
  double* cross_entropy_losses = nullptr;
  const targets* y = nullptr;
  const upstream* divergence_upstream = nullptr;
  std::unique_ptr<divergence_term> divergence;
  row_values temperature;                // where rows have one each
  bool scales_by_temperature = false;    // the divergence of each row by the square of its own
  std::unique_ptr<cross_entropy_term> cross_entropy;   // absent: the rows that are not ignored have the divergence alone

  void load(row_batch& batch) override {
    auto [of_cross_entropy, of_divergence] = terms(batch);
    if (cross_entropy) {
      cross_entropy->load(batch, of_cross_entropy, true);
    } else {
      y->load(batch.first, batch.count, of_cross_entropy.y(), of_cross_entropy.rows.class_weight,
              of_cross_entropy.rows.row_weight, true);
      batch.skip_zero_weight_rows(of_cross_entropy.rows.row_weight);
    }
    std::copy_n(of_cross_entropy.rows.row_weight, batch.count, of_divergence.row_weight);
    divergence_upstream->load(batch.first, batch.count, of_divergence.row_weight, of_divergence.upstream);
    of_divergence.divisor = divergence_upstream->divisor();
    if (!temperature.given()) return;
    double t[batch_rows];
    temperature.load(batch.first, batch.count, t);
    for (index i = 0; i < batch.count; ++i) {
      of_divergence.upstream[i] /= t[i];
      if (scales_by_temperature) of_divergence.row_weight[i] *= t[i] * t[i];
    }
  }

  void prepare(row_batch& batch) override { divergence->prepare(batch, state(batch).divergence); }

  void reduce(row_batch& batch, index begin, index end) override {
    divergence->sum(batch, state(batch).divergence, begin, end);
    if (cross_entropy) cross_entropy->sum(batch, state(batch).cross_entropy, begin, end);
  }

  void finish(row_batch& batch) override {
    auto [of_cross_entropy, of_divergence] = terms(batch);
    divergence->finish(batch, of_divergence);
    if (!cross_entropy) return;
    cross_entropy->finish(batch, of_cross_entropy);
    cross_entropy_rows& r = of_cross_entropy.rows;
    if (cross_entropy_losses != nullptr) std::copy_n(r.loss, batch.count, cross_entropy_losses + batch.first);
    if (!batch.plan->writes()) return;
    // The entries that `complete` stores: with those of the divergence, as long as the logits are there to read.
    alignas(64) double gradient[batch_rows];
    index classes[batch_rows];
    const auto add_divergence = [&](const index* at, double* to) {
      for (index i = 0; i < batch.count; ++i) classes[i] = std::max<index>(at[i], 0);   // or it is not written
      divergence->gradient_at(batch, of_divergence, classes, gradient);
      for (index i = 0; i < batch.count; ++i) to[i] += gradient[i];
    };
    add_divergence(of_cross_entropy.y(), r.gradient.target_gradient);
    add_divergence(r.argmax, r.argmax_gradient);
    cross_entropy->multiply_by_softcap_derivative(batch, of_cross_entropy);
  }

  void write(row_batch& batch, index begin, index end) override {
    auto [of_cross_entropy, of_divergence] = terms(batch);
    source q, logits;
    if (cross_entropy && batch.plan->input(0).temperature.given()) {
      logits = cross_entropy->logits(batch);
      of_cross_entropy.rows.gradient.logits = &logits;
    }
    divergence->write(batch, of_divergence, cross_entropy ? cross_entropy->probabilities(batch, q) : nullptr, begin, end,
                      cross_entropy ? cross_entropy->statistics(batch) : batch.in[0].statistics,
                      cross_entropy ? &of_cross_entropy.rows.gradient : nullptr);
  }

  void complete(row_batch& batch) override {
    auto [of_cross_entropy, of_divergence] = terms(batch);
    divergence->complete(batch, of_divergence);
    if (divergence_losses != nullptr) std::copy_n(of_divergence.loss, batch.count, divergence_losses + batch.first);
    if (!cross_entropy || !batch.plan->writes()) return;
    cross_entropy->for_each_entry(batch, of_cross_entropy, [&](index row, index c, double v) { batch.store_entry(row, c, v); });
  }

 private:
  static std::pair<cross_entropy_state&, divergence_state&> terms(row_batch& batch) {
    return {state(batch).cross_entropy, state(batch).divergence};
  }
};

}  // namespace crossent
