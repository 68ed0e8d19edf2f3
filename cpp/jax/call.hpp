// One call of XLA: its operands, results and attributes by name, as the views of crossent.hpp, never a copy.
//
// XLA calls from threads of its own and without the GIL, so nothing here knows of Python. All arrays are contiguous. Under
// jax.vmap every array has the same number of leading axes more, those of the examples, which are 1 long where an array is the
// same for all of them. The attributes describe one example.
#pragma once

#include <xla/ffi/api/ffi.h>

#include <crossent/crossent.hpp>
#include <string>
#include <string_view>

#include "core/parallel.hpp"

namespace crossent::jax {

namespace ffi = xla::ffi;

constexpr int most_axes = 64;   // as NumPy has

struct shape {
  int ndim = 0;
  index size[most_axes];

  index elements() const;
  shape without(int axis) const;
};

// An array of all examples, of which at(example) is a view of one.
class array {
 public:
  array() = default;
  // An array whose examples are broadcast to the shape `as`, as NumPy does it.
  array(const ffi::AnyBuffer& buffer, int example_axes, const shape& as, const shape& examples);

  explicit operator bool() const { return data_ != nullptr; }
  bool is_integer() const;
  dtype type() const;

  view at(index example) const;
  index_view indices_at(index example) const;
  mutable_view output_at(index example) const;

  // Throws wrong_value if a number is outside [low, high].
  void check(const char* name, double low, double high) const;
  // Throws it for a number of an example that was found outside.
  [[noreturn]] void refuse(const char* name, const range_violation& found, double low, double high) const;
  // The position of the element `at`, counted in C order within an example: "target[3, 5]".
  std::string position(const char* name, index at) const;

 private:
  char* at_offset(index example) const;

  char* data_ = nullptr;
  ffi::DataType type_{};
  const shape* examples_ = nullptr;
  shape given_;   // of one example, as it was given
  shape as_;
  index strides_[most_axes], example_strides_[most_axes];
};

// An argument that is wrong, as its message says.
struct wrong_value {
  ffi::ErrorCode code;
  std::string message;
};

class call {
 public:
  call(ffi::RemainingArgs operands, ffi::RemainingRets results, ffi::Dictionary attributes);
  call(const call&) = delete;
  call& operator=(const call&) = delete;

  const shape& first() const { return first_; }   // of the first operand, one example

  array operand(std::string_view name, const shape& as) const;   // none if it was not given
  array result(std::string_view name, const shape& as) const;

  template <class T> T attribute(std::string_view name) const {
    const auto value = attributes_.get<T>(name);
    if (!value.has_value()) throw wrong_value{ffi::ErrorCode::kInternal, std::string("no attribute ").append(name)};
    return *value;
  }

  // f(example, execution) for each example, which has so much work.
  template <class F> void for_each_example(index work, F&& f) const {
    const index count = examples_.elements();
    const execution by_itself{1};
    const int threads = threads_for(work_of(count, work), {});
    if (count < threads || work >= index{1} << 19) {   // enough for threads within an example
      for (index i = 0; i < count; ++i) f(i, execution{});
      return;
    }
    parallel_for(count, work, threads, {}, [&](index begin, index end, int) {
      for (index i = begin; i < end; ++i) f(i, by_itself);
    });
  }

 private:
  ffi::RemainingArgs operands_;
  ffi::RemainingRets results_;
  ffi::Dictionary attributes_;
  std::string_view operand_names_, result_names_;   // separated by spaces, in their order
  int example_axes_;
  shape first_, examples_;
};

}  // namespace crossent::jax
