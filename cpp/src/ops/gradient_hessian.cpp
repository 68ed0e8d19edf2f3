// The gradient of a cross-entropy, and beside it the diagonal of its Hessian. While a batch of rows is in cache, one after the
// other is written; the gradient has the bits of `cross_entropy`.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "core/fp_environment.hpp"
#include "core/number.hpp"
#include "ops/cross_entropy_term.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
namespace {

struct gradient_hessian_batch : batch_state, cross_entropy_state {
  hessian_rows hessian{};
  bool from_cache = false;
  char* out[batch_rows] = {};
  index out_strides[batch_tiles] = {};
};

class gradient_hessian_operation : public row_operation<gradient_hessian_batch> {
 public:
  gradient_hessian_operation(const row_plan& plan, const cross_entropy_term& term, const hessian_options& options,
                             const row_array& out)
      : plan_(plan), term_(term), options_(options), out_(out) {}

  void load(row_batch& batch) override {
    gradient_hessian_batch& s = state(batch);
    term_.load(batch, s, false);
    s.hessian.scale = options_.scale;
    s.hessian.floor = options_.floor;
    s.rows.hessian = &s.hessian;
    point_at_rows(out_, batch.first, batch.count, plan_.kernel().lanes, s.out, s.out_strides);
  }
  void reduce(row_batch& batch, index begin, index end) override { term_.sum(batch, state(batch), begin, end); }
  void finish(row_batch& batch) override {
    gradient_hessian_batch& s = state(batch);
    term_.finish(batch, s);
    hessian_rows& h = s.hessian;
    double unsplit[batch_rows];
    std::copy_n(h.probability, batch_rows, unsplit);
    s.from_cache = batch.from_cache && plan_.kernel().unbias_factors(batch.count, h.probability, nullptr);
    if (!s.from_cache) {
      std::copy_n(batch.in[0].statistics.exponent, batch.count, h.exponent);
      plan_.kernel().split_exponents(batch.count, h.probability, nullptr, h.exponent);
    }
    plan_.kernel().split_hessian(batch.count, unsplit, h);
  }
  // The Hessian of logits is written first, as the gradient may be written over them.
  void write(row_batch& batch, index begin, index end) override {
    source q;
    gradient_hessian_batch& s = state(batch);
    if (!options_.absolute) write_hessian(batch, s, begin, end);
    batch.write_softmax_gradient(term_.probabilities(batch, q), begin, end, s.rows.gradient);
    if (options_.absolute) write_magnitude(batch, s, begin, end);
  }
  void complete(row_batch& batch) override {
    if (plan_.writes_target) return;
    gradient_hessian_batch& s = state(batch);
    term_.for_each_entry(batch, s, [&](index row, index c, double v) {
      batch.store_entry(row, c, v);
      if (options_.absolute && s.hessian.factor[row] != 0) store_magnitude(batch, s, row, c);
    });
  }

 private:
  sink output(gradient_hessian_batch& s) const { return {s.out, out_.class_stride, out_.type, plan_.stream, s.out_strides}; }
  void write_hessian(row_batch& batch, gradient_hessian_batch& s, index begin, index end) const {
    if (s.from_cache) plan_.kernel().write_cached_hessian(batch.cached(), output(s), s.hessian);
    else plan_.kernel().write_hessian(batch.input(0), batch.in[0].statistics, output(s), begin, end, s.hessian);
  }
  void write_magnitude(row_batch& batch, gradient_hessian_batch& s, index begin, index end) const {
    const char* gradient[batch_rows];
    std::copy_n(batch.out, batch.count, gradient);
    for (index i = batch.count; i < batch_rows; ++i) gradient[i] = gradient[batch.count - 1];
    const source g{gradient, batch.count, plan_.classes, plan_.out.class_stride, plan_.out.type, plan_.lanes_over_rows};
    plan_.kernel().write_magnitude(g, output(s), begin, end, s.hessian);
  }
  // As the kernel does it.
  void store_magnitude(row_batch& batch, gradient_hessian_batch& s, index row, index c) const {
    const double g = std::abs(load_number(batch.out[row] + c * plan_.out.class_stride, plan_.out.type));
    const double product = rounded_to(plan_.type, g * rounded_to(plan_.type, options_.scale));
    const double floor = rounded_to(plan_.type, options_.floor);
    store_number(s.out[row] + c * out_.class_stride, out_.type, product < floor ? floor : product);
  }

  const row_plan& plan_;
  const cross_entropy_term& term_;
  const hessian_options& options_;
  const row_array& out_;
};

// The labels as integers in C order.
class integral_labels {
 public:
  integral_labels(const view& labels, const execution& e)
      : labels_(labels, -1), shape_(labels_.rows.rows()), integers_(static_cast<std::size_t>(shape_)) {
    with_loader(labels.type, [&](auto load) {
      for_each_row_chunk(shape_, e, [&](index first, index count) { convert(load, first, count); });
    });
    const index bad = first_bad_.load();
    if (bad == none) return;
    index offset = 0;
    labels_.rows.offsets(bad, 1, &offset);
    throw label_error{{bad, load_number(labels_.data + offset, labels.type)}};
  }
  index_view indices() const { return {integers_.data(), int_dtype::int64, 1, &shape_, &stride_}; }

 private:
  static constexpr index none = std::numeric_limits<index>::max();

  template <class Load> void convert(Load load, index at, index count) {
    labels_.rows.for_each_strided_run(at, count, [&](index offset, index n, index stride) {
      for (index i = 0; i < n; ++i, ++at) {
        const double v = load(labels_.data + offset + i * stride);
        const bool fits = -0x1p53 < v && v < 0x1p53;   // NaN does not
        std::int64_t& y = integers_[static_cast<std::size_t>(at)];
        y = fits ? static_cast<std::int64_t>(v) : 0;
        if (!fits || static_cast<double>(y) != v) note_bad(at);
      }
    });
  }
  void note_bad(index row) {
    index seen = first_bad_.load();
    while (row < seen && !first_bad_.compare_exchange_weak(seen, row)) {
    }
  }

  row_array labels_;
  index shape_, stride_ = sizeof(std::int64_t);
  std::vector<std::int64_t> integers_;
  std::atomic<index> first_bad_{none};
};

void compute(const view& logits, const index_view& indices, const view& probabilities, const hessian_options& hessian,
             const row_loss_options& options, const mutable_view& grad, const mutable_view& hess, const execution& e) {
  const default_environment environment;
  row_description d(logits, options.axis, 1.0, grad);
  const row_array out(hess, options.axis);
  const targets y(indices, d.rows, options, d.classes, d.type, true, e);
  const cross_entropy_inputs inputs = cross_entropy_term::describe(d, 0, y, probabilities);
  d.reuses_exponentials = true;
  d.rereads_output = hessian.absolute;
  const row_plan plan = make_plan(d, e);
  const upstream coefficients({}, plan.type, 1.0);
  const cross_entropy_term term(plan, inputs, y, coefficients, options, 1.0, e);
  gradient_hessian_operation operation(plan, term, hessian, out);
  run_rows(plan, operation, e);
  y.throw_if_bad();
}

}  // namespace

void cross_entropy_gradient_hessian(const view& logits, const class_labels& labels, const view& probabilities,
                                    const hessian_options& hessian, const row_loss_options& options, const mutable_view& grad,
                                    const mutable_view& hess, const execution& e) {
  if (labels.numbers.data == nullptr) return compute(logits, labels.integers, probabilities, hessian, options, grad, hess, e);
  const default_environment environment;
  const integral_labels integers(labels.numbers, e);
  compute(logits, integers.indices(), probabilities, hessian, options, grad, hess, e);
}

}  // namespace crossent
