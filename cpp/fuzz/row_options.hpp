// What the losses of rows share: their options and outputs, drawn.
#pragma once

#include "any_layout.hpp"

namespace crossent::fuzz {

inline double some_temperature(bytes& data) {
  constexpr double temperatures[] = {1, 1, 2, 0.5, 7.3, 1e-3, 1e6};
  return data.PickValueInArray(temperatures);
}
inline double some_fraction(bytes& data) { return data.ConsumeIntegralInRange<int>(0, 4) * 0.25; }

inline divergence_options some_divergence(bytes& data) {
  divergence_options d;
  d.temperature = some_temperature(data);
  d.kind = static_cast<divergence_kind>(data.ConsumeIntegralInRange<int>(0, 2));
  d.beta = data.ConsumeBool() ? 0.5 : 0.125;
  return d;
}

// The options, of which arrays are inputs of the call: the next three, each of which may be absent. The outputs are the loss and
// the gradient, one of them perhaps absent.
class row_options {
 public:
  row_options(bytes& data, const row_shape& s, dtype logits, arrays& a, int terms = 1) : first_(a.inputs.size()) {
    const dtype type = arithmetic(logits);
    options_.axis = s.axis;
    options_.has_ignore_index = data.ConsumeBool();
    options_.ignore_index = data.ConsumeBool() ? -100 : 1;
    options_.label_smoothing = some_fraction(data);
    options_.z_loss = data.ConsumeBool() ? 0 : 1e-4;
    options_.transform.softcap = data.ConsumeBool() ? 0 : 30;
    options_.entropy_weight = data.ConsumeBool() ? 0 : 0.25;
    constexpr reduction_kind kinds[] = {
        reduction_kind::none, reduction_kind::mean, reduction_kind::sum, reduction_kind::block_sums};
    options_.reduction = data.PickValueInArray(kinds);
    if (options_.reduction == reduction_kind::mean && data.ConsumeBool()) options_.denominator = 3;
    const auto maybe = [&](const shape_of& shape, kind of) {
      return data.ConsumeBool() ? floats::input(data, shape, type, of) : floats();
    };
    a.inputs.push_back(maybe({s.classes}, kind::weights));
    a.inputs.push_back(maybe(s.rows, kind::weights));
    const bool sums = options_.reduction == reduction_kind::block_sums;
    a.inputs.push_back(sums ? floats() : maybe(s.rows, kind::any));
    const int outputs = data.ConsumeIntegralInRange<int>(1, 3);
    a.outputs.push_back(outputs != 1 ? loss(data, s, type, terms) : floats());
    a.outputs.push_back(outputs != 2 ? floats::output(data, s.shape, logits) : floats());
    a.in_place = outputs != 2 && data.ConsumeBool();
  }
  row_loss_options of(arrays& a, double temperature = 1) const {
    row_loss_options o = options_;
    o.temperature = temperature;
    o.weight = a.in(first_);
    o.sample_weight = a.in(first_ + 1);
    o.grad_output = a.in(first_ + 2);
    return o;
  }

 private:
  floats loss(bytes& data, const row_shape& s, dtype type, int terms) const {
    if (options_.reduction == reduction_kind::none) return floats::output(data, s.rows, type);
    if (options_.reduction != reduction_kind::block_sums) return {strided({}, item_size(type)), type};
    return {strided({terms, (product(s.rows) + 1023) / 1024, 2}, 8), dtype::float64};
  }

  std::size_t first_;
  row_loss_options options_;
};

}  // namespace crossent::fuzz
