// One number of an array of any dtype.
#pragma once

#include <cstring>

#include "core/half.hpp"
#include "core/kernels.hpp"

namespace crossent {

inline void store_number(void* to, dtype type, double value) {
  // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): there is a number to store
  const auto put = [&](auto v) { std::memcpy(to, &v, sizeof v); };
  switch (type) {
    case dtype::float64: return put(value);
    case dtype::float32: return put(static_cast<float>(value));
    case dtype::float16: return put(to_float16(static_cast<float>(value)));
    case dtype::bfloat16: return put(to_bfloat16(static_cast<float>(value)));
  }
}

// f(load) for a load(const void*) that reads one number of the dtype as a double.
template <class F> auto with_loader(dtype type, F&& f) {
  const auto loader = [](auto zero, auto convert) {
    return [=](const void* from) {
      auto v = zero;
      std::memcpy(&v, from, sizeof v);
      return static_cast<double>(convert(v));
    };
  };
  const auto same = [](auto v) { return v; };
  switch (type) {
    case dtype::float64: return f(loader(double{}, same));
    case dtype::float32: return f(loader(float{}, same));
    case dtype::float16: return f(loader(std::uint16_t{}, from_float16));
    default: return f(loader(std::uint16_t{}, from_bfloat16));
  }
}

inline double load_number(const void* from, dtype type) {
  return with_loader(type, [&](auto load) { return load(from); });
}

inline double rounded_to(dtype type, double x) {
  return type == dtype::float64 ? x : static_cast<double>(static_cast<float>(x));
}

// The number, rounded to the dtype that the call computes in.
inline double load_rounded(const void* from, dtype type, dtype arithmetic) {
  return rounded_to(arithmetic, load_number(from, type));
}

}  // namespace crossent
