// What is said of rows: predictions, a temperature, measures of information, numbers outside a range.
#include "row_options.hpp"

namespace crossent::fuzz {

namespace {

void check_predict(bytes& data, const row_shape& s) {
  arrays a;
  a.inputs.push_back(floats::input(data, s.shape, kind::logits));
  const bool has_target = data.ConsumeBool();
  a.written_before_errors = true;
  a.indices.push_back(has_target ? integers::input(data, s.rows, s.classes, -100) : integers());
  const dtype type = arithmetic(a.inputs[0].type);
  row_loss_options options;
  options.axis = s.axis;
  options.temperature = some_temperature(data);
  const index k = data.ConsumeIntegralInRange<index>(0, std::min<index>(s.classes, 70));
  const index n = product(s.rows);
  // log_prob, max_log_prob, entropy, logsumexp, sum_of_squares, top_log_probs; then indices, as if they were float64.
  for (int i = 0; i < 6; ++i) a.outputs.push_back({strided({n, i == 5 ? k : 1}, item_size(type)), type});
  for (int i = 0; i < 3; ++i) a.outputs.push_back({strided({n, i == 2 ? k : 1}, 8), dtype::float64});
  check(data, a, [&](arrays& c, const execution& e) {
    const auto number = [&](std::size_t i) { return static_cast<void*>(c.out(i).data); };
    const auto position = [&](std::size_t i) { return static_cast<index*>(c.out(i).data); };
    predictions p{};
    p.type = type;
    if (has_target) p.log_prob = number(0), p.rank = position(6);
    p.max_log_prob = number(1), p.entropy = number(2), p.logsumexp = number(3), p.sum_of_squares = number(4);
    p.argmax = position(7);
    p.k = k;
    if (k > 0) p.top_log_probs = number(5), p.top_classes = position(8);
    predict(c.in(0), c.index_in(0), options, p, e);
  });
}

void check_information(bytes& data, const row_shape& s) {
  const int function = data.ConsumeIntegralInRange<int>(0, 4);
  const double base = data.ConsumeBool() ? 0 : 2;
  arrays a;
  a.inputs.push_back(floats::input(data, s.shape, function == 4 ? kind::logits : kind::probabilities));
  a.inputs.push_back(floats::input(data, s.shape, kind::probabilities));
  a.outputs.push_back(floats::output(data, s.rows, arithmetic(a.inputs[0].type)));
  check(data, a, [&](arrays& c, const execution& e) {
    switch (function) {
      case 0: return entropy(c.in(0), s.axis, base, c.out(0), e);
      case 1: return information_cross_entropy(c.in(0), c.in(1), s.axis, base, c.out(0), e);
      case 2: return kl_divergence(c.in(0), c.in(1), s.axis, base, c.out(0), e);
      case 3: return js_divergence(c.in(0), c.in(1), s.axis, base, c.out(0), e);
      default: return entropy_with_logits(c.in(0), s.axis, c.out(0), e);
    }
  });
}

// What was returned goes to the output, for the check.
void put(arrays& a, std::initializer_list<double> numbers) {
  char* to = static_cast<char*>(a.out(0).data);
  for (const double v : numbers) {
    put_number(to, dtype::float64, v);
    to += 8;
  }
}

void check_outside(bytes& data, const row_shape& s) {
  arrays a;
  a.inputs.push_back(floats::input(data, s.shape, kind::any));
  a.outputs.push_back({strided({2}, 8), dtype::float64});
  check(data, a, [&](arrays& c, const execution& e) {
    const range_violation found = first_outside(c.in(0), -1e3, 1e3, e);
    put(c, {static_cast<double>(found.element), found.value});
  });
}

void check_temperature(bytes& data, const row_shape& s) {
  arrays a;
  const bool by_index = data.ConsumeBool();
  a.inputs.push_back(floats::input(data, s.shape, kind::logits));
  a.inputs.push_back(by_index ? floats() : floats::input(data, s.shape, kind::probabilities));
  a.inputs.push_back(data.ConsumeBool() ? floats::input(data, s.rows, arithmetic(a.inputs[0].type), kind::weights) : floats());
  a.indices.push_back(by_index ? integers::input(data, s.rows, s.classes, -100) : integers());
  a.outputs.push_back({strided({4}, 8), dtype::float64});
  const index most = data.ConsumeIntegralInRange<int>(1, 40);
  check(data, a, [&](arrays& c, const execution& e) {
    row_loss_options options;
    options.axis = s.axis;
    options.sample_weight = c.in(2);
    const temperature_fit fit = fit_temperature(c.in(0), c.index_in(0), c.in(1), options, 0.05, 20, most, e);
    put(c, {fit.temperature, fit.nll_before, fit.nll_after, 10.0 * fit.passes + fit.at_bound});
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* first, std::size_t size) {
  bytes data(first, size);
  const row_shape s(data);
  switch (data.ConsumeIntegralInRange<int>(0, 3)) {
    case 0: check_predict(data, s); break;
    case 1: check_information(data, s); break;
    case 2: check_outside(data, s); break;
    default: check_temperature(data, s);
  }
  return 0;
}

}  // namespace crossent::fuzz
