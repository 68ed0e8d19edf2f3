// The inputs of the tests: numbers from integers alone, so that no library function of this machine is in them, and arrays
// of any dtype and layout.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/half.hpp"
#include "core/kernels.hpp"

namespace crossent {

constexpr index class_counts[] = {1, 2, 3, 10, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000, 1024, 1025, 2100, 5000};

template <class T> constexpr dtype type_of = sizeof(T) == 4 ? dtype::float32 : dtype::float64;

inline std::uint64_t next_integer(std::uint64_t& state) { return state = state * 6364136223846793005u + 1442695040888963407u; }

// Logits. With a wide spread, some are as good as masked.
template <class T> std::vector<T> logits(index n, std::uint64_t seed, int spread) {
  std::vector<T> x(static_cast<std::size_t>(n));
  for (T& v : x) {
    next_integer(seed);
    v = static_cast<T>(static_cast<double>(static_cast<std::int64_t>(seed) >> 30) * 0x1p-33 * spread);
    if (spread == 100 && seed >> 60 == 5) v = static_cast<T>(-1e30);
  }
  return x;
}

// Multiples of 2^-24 in [0, 1], both ends included.
template <class T> std::vector<T> probabilities(index n, std::uint64_t seed) {
  std::vector<T> q(static_cast<std::size_t>(n));
  for (T& v : q) {
    const std::uint64_t u = next_integer(seed) >> 32, kind = u >> 29;
    v = static_cast<T>(kind == 0 ? 0.0 : kind == 1 && u % 4 == 0 ? 1.0 : static_cast<double>(u & 0xffffff) * 0x1p-24);
  }
  return q;
}

inline std::uint64_t fnv(std::uint64_t h, const void* data, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) h = (h ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211u;
  return h;
}
template <class T> std::uint64_t fnv(std::uint64_t h, const std::vector<T>& v) {
  return fnv(h, v.data(), v.size() * sizeof(T));
}

inline void put_number(char* to, dtype type, double v) {
  const auto put = [&](auto bits) { std::memcpy(to, &bits, sizeof bits); };
  switch (type) {
    case dtype::float64: return put(v);
    case dtype::float32: return put(static_cast<float>(v));
    case dtype::float16: return put(to_float16(static_cast<float>(v)));
    case dtype::bfloat16: return put(to_bfloat16(static_cast<float>(v)));
  }
}
inline double number_at(const char* from, dtype type) {
  const auto get = [&](auto v) {
    std::memcpy(&v, from, sizeof v);
    return v;
  };
  switch (type) {
    case dtype::float64: return get(double{});
    case dtype::float32: return static_cast<double>(get(float{}));
    case dtype::float16: return static_cast<double>(from_float16(get(std::uint16_t{})));
    default: return static_cast<double>(from_bfloat16(get(std::uint16_t{})));
  }
}

// Where the entries of a (rows, classes) array lie.
enum class order { c, fortran, every_second, fortran_every_third, padded, reversed };
constexpr order orders[] = {order::c,      order::fortran, order::every_second, order::fortran_every_third,
                            order::padded, order::reversed};

// A (rows, classes) array of its own memory.
class matrix {
 public:
  matrix(index rows, index classes, dtype type, order o) : type_(type), shape_{rows, classes} {
    const index item = item_size(type);
    switch (o) {
      case order::c: set(classes, 1); break;
      case order::fortran: set(1, rows); break;
      case order::every_second: set(2 * classes, 2); break;
      case order::fortran_every_third: set(3, 3 * rows); break;
      case order::padded: set(classes + 1, 1); break;
      case order::reversed: set(-classes, -1); break;
    }
    index low = 0, high = item;
    for (int d = 0; d < 2; ++d) (strides_[d] < 0 ? low : high) += strides_[d] * std::max<index>(shape_[d] - 1, 0);
    bytes_.resize(static_cast<std::size_t>(high - low));
    first_ = -low;
  }
  template <class T> matrix(const std::vector<T>& values, index rows, dtype type, order o)
      : matrix(rows, static_cast<index>(values.size()) / rows, type, o) {
    std::size_t i = 0;
    for_each([&](char* at) { put_number(at, type_, static_cast<double>(values[i++])); });
  }

  dtype type() const { return type_; }
  view in() const { return {bytes_.data() + first_, type_, 2, shape_, strides_}; }
  mutable_view to() { return {bytes_.data() + first_, type_, 2, shape_, strides_}; }

  // The entries in C order: as numbers, and as they are.
  std::vector<double> numbers() {
    std::vector<double> v;
    for_each([&](const char* at) { v.push_back(number_at(at, type_)); });
    return v;
  }
  std::vector<char> entries() {
    std::vector<char> v;
    for_each([&](const char* at) { v.insert(v.end(), at, at + item_size(type_)); });
    return v;
  }

 private:
  void set(index row, index column) {
    strides_[0] = row * item_size(type_);
    strides_[1] = column * item_size(type_);
  }
  template <class F> void for_each(F f) {
    for (index r = 0; r < shape_[0]; ++r)
      for (index c = 0; c < shape_[1]; ++c) f(bytes_.data() + first_ + r * strides_[0] + c * strides_[1]);
  }

  dtype type_;
  index shape_[2], strides_[2] = {}, first_ = 0;
  std::vector<char> bytes_;
};

}  // namespace crossent
