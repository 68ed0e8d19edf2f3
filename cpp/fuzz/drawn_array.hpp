// Arrays drawn from the bytes of a fuzzer, each in an allocation that ends where its last element does.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "corpus.hpp"

namespace crossent::fuzz {

using bytes = FuzzedDataProvider;
using shape_of = std::vector<index>;

enum class kind { logits, probabilities, logarithms, weights, positive, any };

constexpr dtype dtypes[] = {dtype::float32, dtype::float64, dtype::float16, dtype::bfloat16};
constexpr index size_of(int_dtype type) { return index{1} << static_cast<int>(type) % 4; }

inline index product(const shape_of& shape) {
  index n = 1;
  for (const index size : shape) n *= size;
  return n;
}

// Elements of `item` bytes with strides of any sign and size, 0 where `shared` allows it, and at any alignment.
class strided {
 public:
  strided() = default;
  strided(shape_of shape, index item) : item_(item), shape_(std::move(shape)), strides_(shape_.size()) {
    index stride = item;
    for (std::size_t d = shape_.size(); d-- > 0; stride *= shape_[d]) strides_[d] = stride;
    allocate(0);
  }
  strided(bytes& data, shape_of shape, index item, bool shared)
      : item_(item), shape_(std::move(shape)), strides_(shape_.size()) {
    std::vector<std::size_t> inner_first(shape_.size());
    for (std::size_t d = 0; d < inner_first.size(); ++d) {
      inner_first[d] = d;
      std::swap(inner_first[d], inner_first[data.ConsumeIntegralInRange<std::size_t>(0, d)]);
    }
    const index odd = data.ConsumeIntegralInRange<int>(0, 7) == 0 ? 1 : 0;   // strides that are no multiple of an item
    index stride = item;
    for (const std::size_t d : inner_first) {
      const int way = data.ConsumeIntegralInRange<int>(0, 15);
      if (way == 15 && shared) continue;
      stride = stride * (way == 14 ? 3 : way == 13 ? 2 : 1) + odd;
      strides_[d] = way >= 11 ? -stride : stride;
      stride *= std::max<index>(shape_[d], 1);
    }
    allocate(data.ConsumeIntegralInRange<index>(0, 3) == 0 ? data.ConsumeIntegralInRange<index>(0, 63) : 0);
  }

  bool given() const { return store_ != nullptr; }
  index count() const { return product(shape_); }
  const shape_of& shape() const { return shape_; }
  const index* strides() const { return strides_.data(); }
  char* first() { return store_.get() + first_; }

  // f(address) of each element, in C order.
  template <class F> void for_each(F f) const {
    if (!given()) return;
    shape_of at(shape_.size());
    for (index n = count(); n > 0; --n) {
      index offset = first_;
      for (std::size_t d = 0; d < at.size(); ++d) offset += at[d] * strides_[d];
      f(store_.get() + offset);
      for (std::size_t d = at.size(); d-- > 0 && ++at[d] == shape_[d];) at[d] = 0;
    }
  }
  // The same elements in C order, as many as there are.
  strided contiguous() const {
    if (!given()) return {};
    strided copy(shape_, item_);
    char* to = copy.first();
    for_each([&](const char* from) {
      std::memcpy(to, from, static_cast<std::size_t>(item_));
      to += item_;
    });
    return copy;
  }
  // All of the allocation; without the elements, for what lies around and between them.
  std::vector<char> memory() const { return {store_.get(), store_.get() + size_}; }
  std::vector<char> gaps() const {
    std::vector<char> all = memory();
    for_each([&](const char* at) { std::fill_n(all.begin() + (at - store_.get()), item_, '\0'); });
    return all;
  }

 private:
  void allocate(index offset) {
    index low = 0, high = count() > 0 ? item_ : 0;
    for (std::size_t d = 0; d < shape_.size(); ++d)
      if (count() > 0) (strides_[d] < 0 ? low : high) += strides_[d] * (shape_[d] - 1);
    first_ = offset - low;
    size_ = offset + high - low;
    store_.reset(new char[static_cast<std::size_t>(size_)]);
    std::memset(store_.get(), 0x5a, static_cast<std::size_t>(size_));
  }

  index item_ = 1, first_ = 0, size_ = 0;
  shape_of shape_, strides_;
  std::unique_ptr<char[]> store_;
};

// One of a few numbers, which bytes say, in an order that a generator does.
class numbers {
 public:
  numbers(bytes& data, kind of) : state_(data.ConsumeIntegral<std::uint16_t>()) {
    for (double& v : few_) v = one(data, of);
  }
  double next() { return few_[next_integer(state_) >> 61]; }

 private:
  static double one(bytes& data, kind of) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    constexpr double special[] = {0.0,  -0.0, 1.0, -1.0, infinity, -infinity, std::numeric_limits<double>::quiet_NaN(),
                                  88.5, -104, 710, -745, 1e-45,    5e-324,    -1e30,
                                  3e38, 1e308};
    const double fraction = data.ConsumeIntegral<std::uint16_t>() * 0x1p-16;
    const int choice = data.ConsumeIntegralInRange<int>(0, 23);
    switch (of) {
      case kind::probabilities: return choice == 0 ? 0 : choice == 1 ? 1 : choice == 2 ? 1e-45 : fraction;
      case kind::weights: return choice == 0 ? 0 : choice == 1 ? 1e-40 : choice == 2 ? 3e4 : 2 * fraction;
      case kind::positive: return 0.01 + 3 * fraction;
      case kind::logarithms: return choice == 0 ? -infinity : choice == 1 ? 0 : -30 * fraction;
      case kind::logits: return choice < 16 ? special[choice] : (fraction - 0.5) * (choice % 2 == 0 ? 8 : 200);
      default: return choice < 16 ? special[choice] : (fraction - 0.5) * 1e4;
    }
  }

  std::uint64_t state_;
  double few_[8];
};

// A strided array of floating numbers.
struct floats : strided {
  dtype type = dtype::float32;

  floats() = default;
  floats(strided array, dtype t) : strided(std::move(array)), type(t) {}
  // For a result: of elements of their own.
  static floats output(bytes& data, const shape_of& shape, dtype type) {
    return {strided(data, shape, item_size(type), false), type};
  }
  static floats input(bytes& data, const shape_of& shape, dtype type, kind of, bool shared = true) {
    floats x{strided(data, shape, item_size(type), shared), type};
    numbers values(data, of);
    x.for_each([&](char* at) { put_number(at, type, values.next()); });
    return x;
  }
  static floats input(bytes& data, const shape_of& shape, kind of) {
    return input(data, shape, data.PickValueInArray(dtypes), of);
  }
  floats contiguous() const { return {strided::contiguous(), type}; }

  view in() { return given() ? view{first(), type, static_cast<int>(shape().size()), shape().data(), strides()} : view{}; }
  mutable_view to() {
    return given() ? mutable_view{first(), type, static_cast<int>(shape().size()), shape().data(), strides()} : mutable_view{};
  }
  // The elements in C order, every NaN alike: their signs and payloads are not promised.
  std::vector<char> entries() const {
    std::vector<char> all;
    for_each([&](const char* at) {
      all.insert(all.end(), at, at + item_size(type));
      if (const double v = number_at(at, type); v != v)
        put_number(&*(all.end() - item_size(type)), type, std::numeric_limits<double>::quiet_NaN());
    });
    return all;
  }
};

// A strided array of class indices, now and then with some that are in no class.
struct integers : strided {
  int_dtype type = int_dtype::int64;

  integers() = default;
  integers(strided array, int_dtype t) : strided(std::move(array)), type(t) {}
  static integers input(bytes& data, const shape_of& shape, index classes, std::int64_t ignored) {
    const auto type = static_cast<int_dtype>(data.ConsumeIntegralInRange<int>(0, 7));
    integers y{strided(data, shape, size_of(type), true), type};
    std::int64_t few[8];
    for (std::int64_t& v : few) {
      const int choice = data.ConsumeIntegralInRange<int>(0, 63);
      v = choice == 0  ? data.ConsumeIntegral<std::int64_t>()
          : choice < 8 ? ignored
                       : data.ConsumeIntegralInRange<std::int64_t>(0, std::max<index>(classes - 1, 0));
    }
    std::uint64_t state = data.ConsumeIntegral<std::uint16_t>();
    // The lowest bytes, as the machines that this runs on are little-endian.
    y.for_each([&](char* at) { std::memcpy(at, &few[next_integer(state) >> 61], static_cast<std::size_t>(size_of(type))); });
    return y;
  }
  integers contiguous() const { return {strided::contiguous(), type}; }

  index_view in() {
    return given() ? index_view{first(), type, static_cast<int>(shape().size()), shape().data(), strides()} : index_view{};
  }
};

}  // namespace crossent::fuzz
