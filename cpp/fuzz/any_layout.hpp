// What every target of the fuzzer checks: a call gives the same bits for arrays anywhere, on any number of threads, as on one
// thread for arrays in C order; reads its inputs and writes its outputs, and nothing else.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "drawn_array.hpp"

namespace crossent::fuzz {

// The arrays of a call. In place, the last output is where the first input was.
struct arrays {
  std::vector<floats> inputs;   // those that are not given are empty
  std::vector<integers> indices;
  std::vector<floats> outputs;
  bool in_place = false;
  bool written_before_errors = false;   // as `predict` does it

  view in(std::size_t i) { return i == 0 && in_place ? as_input(outputs.back()) : inputs[i].in(); }
  index_view index_in(std::size_t i) { return indices[i].in(); }
  mutable_view out(std::size_t i) { return outputs[i].to(); }

  arrays contiguous() const {
    arrays copy;
    for (const floats& x : inputs) copy.inputs.push_back(x.contiguous());
    for (const integers& y : indices) copy.indices.push_back(y.contiguous());
    for (const floats& x : outputs) copy.outputs.push_back(x.contiguous());
    return copy;
  }
  std::vector<std::vector<char>> of_inputs() const {
    std::vector<std::vector<char>> all;
    for (const floats& x : inputs) all.push_back(x.memory());
    for (const integers& y : indices) all.push_back(y.memory());
    return all;
  }
  std::vector<std::vector<char>> entries() const {
    std::vector<std::vector<char>> all;
    for (const floats& x : outputs) all.push_back(x.entries());
    return all;
  }
  std::vector<std::vector<char>> gaps() const {
    std::vector<std::vector<char>> all;
    for (const floats& x : outputs) all.push_back(x.gaps());
    return all;
  }

 private:
  static view as_input(floats& x) { return x.in(); }
};

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "FINDING: %s\n", what);
  std::abort();
}

// What a call ended with: nothing, or the error in words. `values` are what it returned, other than in its outputs.
template <class F> std::string outcome(F call) {
  try {
    call();
    return "";
  } catch (const target_error& e) {
    return "target " + std::to_string(e.row) + " " + e.value;
  } catch (const teacher_error& e) {
    return "teacher " + std::to_string(e.element) + (e.is_sum ? " sum " : " ") + std::to_string(e.value);
  } catch (const range_violation& e) {   // of a label, or outside a range
    return "range_violation " + std::to_string(e.element) + " " + std::to_string(e.value);
  }
}

// call(arrays, execution)
template <class F> void check(bytes& data, arrays& drawn, F call) {
  const execution threads{data.ConsumeIntegralInRange<int>(1, 4)};
  drawn.in_place = drawn.in_place && drawn.inputs[0].type == drawn.outputs.back().type &&
                   drawn.inputs[0].shape() == drawn.outputs.back().shape();
  arrays plain = drawn.contiguous();
  if (drawn.in_place) {
    const std::vector<char> x = plain.inputs[0].memory();
    const char* from = x.data();
    const index item = item_size(drawn.inputs[0].type);
    drawn.outputs.back().for_each([&](char* at) {
      std::memcpy(at, from, static_cast<std::size_t>(item));
      from += item;
    });
  }
  const auto before = drawn.of_inputs(), around = drawn.gaps(), outputs = drawn.entries();
  const std::string ended = outcome([&] { call(drawn, threads); });
  require(drawn.of_inputs() == before, "an input was written to");
  require(drawn.gaps() == around, "memory around or between the elements of an output was written to");
  require(outcome([&] { call(plain, execution{1}); }) == ended, "another outcome of arrays in C order");
  if (ended.empty()) require(drawn.entries() == plain.entries(), "other bits than of arrays in C order");
  else if (!drawn.written_before_errors) require(drawn.entries() == outputs, "an output was written to before an error");
}

// The sizes of (rows, classes) arrays: small ones, those at which there is another way through a row, and now and then those
// that are large enough for several threads.
inline index some_classes(bytes& data) {
  constexpr index edges[] = {127, 128, 129, 255, 257, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 3073, 5000};
  return data.ConsumeBool() ? data.ConsumeIntegralInRange<index>(1, 80) : data.PickValueInArray(edges);
}
struct row_shape {
  shape_of shape, rows;   // of the logits, and of the positions of all axes but the class axis
  int axis = 0;
  index classes = 1;

  explicit row_shape(bytes& data) : classes(some_classes(data)) {
    const index most = data.ConsumeIntegralInRange<int>(0, 15) == 0 ? 40'000 : 3000;
    index left = std::max<index>(1, most / classes);
    const int axes = data.ConsumeIntegralInRange<int>(0, 3);
    for (int d = 0; d < axes; ++d) {
      rows.push_back(data.ConsumeIntegralInRange<index>(data.ConsumeIntegralInRange<int>(0, 15) == 0 ? 0 : 1, left));
      left /= std::max<index>(rows.back(), 1);
    }
    axis = data.ConsumeIntegralInRange<int>(0, axes);
    shape = with(classes);
  }
  shape_of with(index count) const {
    shape_of all = rows;
    all.insert(all.begin() + axis, count);
    return all;
  }
};

}  // namespace crossent::fuzz
