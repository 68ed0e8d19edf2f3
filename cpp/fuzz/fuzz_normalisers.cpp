// softmax, log_softmax, logsumexp, and their backward functions.
#include "row_options.hpp"

namespace crossent::fuzz {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* first, std::size_t size) {
  bytes data(first, size);
  const row_shape s(data);
  const double t = some_temperature(data);
  const int function = data.ConsumeIntegralInRange<int>(0, 5);
  const bool of_rows = function == 2, with_rows = function == 5;   // logsumexp, and its backward function

  arrays a;
  a.inputs.push_back(floats::input(data, s.shape, function < 3 || with_rows ? kind::logits : kind::any));
  const dtype type = a.inputs[0].type;
  if (function >= 3) a.inputs.push_back(floats::input(data, with_rows ? s.rows : s.shape, kind::any));
  const bool widened = function < 2 && item_size(type) == 2 && data.ConsumeBool();
  const dtype written = of_rows ? arithmetic(type) : widened ? dtype::float32 : type;
  a.outputs.push_back(floats::output(data, of_rows ? s.rows : s.shape, written));
  a.in_place = !of_rows && data.ConsumeBool();

  const normaliser_options options{s.axis, t, {}};
  check(data, a, [&](arrays& c, const execution& e) {
    switch (function) {
      case 0: return softmax(c.in(0), options, c.out(0), e);
      case 1: return log_softmax(c.in(0), options, c.out(0), e);
      case 2: return logsumexp(c.in(0), options, c.out(0), e);
      case 3: return softmax_backward(c.in(1), c.in(0), s.axis, t, c.out(0), e);
      case 4: return log_softmax_backward(c.in(1), c.in(0), s.axis, t, c.out(0), e);
      default: return logsumexp_backward(c.in(1), c.in(0), options, c.out(0), e);
    }
  });
  return 0;
}

}  // namespace crossent::fuzz
