// float16 and bfloat16 against their definition: sign, exponent, mantissa.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "corpus.hpp"

namespace crossent {

namespace {

struct half_format {
  dtype type;
  int mantissa_bits, exponent_bits;
};
const half_format formats[] = {{dtype::float16, 10, 5}, {dtype::bfloat16, 7, 8}};

// The number that 16 bits stand for.
double by_definition(const half_format& f, unsigned bits) {
  const int bias = (1 << (f.exponent_bits - 1)) - 1, top = (1 << f.exponent_bits) - 1;
  const double sign = bits >> 15 ? -1 : 1;
  const int exponent = static_cast<int>(bits >> f.mantissa_bits) & top;
  const int mantissa = static_cast<int>(bits) & ((1 << f.mantissa_bits) - 1);
  if (exponent == top)
    return mantissa ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - f.mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << f.mantissa_bits), exponent - bias - f.mantissa_bits);
}

// The nearest of all halves, the even one of two: by search, no arithmetic on bits. `values`: the finite ones from 0 up, and
// the power of two that follows them, which stands for infinity.
unsigned nearest(const std::vector<double>& values, double magnitude) {
  if (magnitude >= values.back()) return static_cast<unsigned>(values.size() - 1);
  const auto above = std::upper_bound(values.begin(), values.end(), magnitude);
  const unsigned high = static_cast<unsigned>(above - values.begin()), low = high - 1;
  const double to_low = magnitude - values[low], to_high = values[high] - magnitude;
  return to_low < to_high ? low : to_high < to_low ? high : low % 2 ? high : low;
}
std::vector<double> magnitudes(const half_format& f) {
  std::vector<double> v;
  for (unsigned b = 0; std::isfinite(by_definition(f, b)); ++b) v.push_back(by_definition(f, b));
  v.push_back(std::ldexp(1.0, 1 << (f.exponent_bits - 1)));
  return v;
}

// Bits, with all NaNs one.
std::uint64_t canonical(double v) {
  std::uint64_t bits;
  if (std::isnan(v)) return ~std::uint64_t{0};
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}
float float_at(std::uint32_t bits) {
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

const dtype_kernels& table(dtype type) { return type == dtype::float64 ? kernels().f64 : kernels().f32; }

// n halves `stride` bytes apart as numbers of the arithmetic dtype.
std::vector<double> gathered(const std::vector<std::uint16_t>& bits, index stride, dtype half, dtype to) {
  const index n = static_cast<index>(bits.size());
  std::vector<char> from(static_cast<std::size_t>(n * stride + 1)), out(static_cast<std::size_t>(n * item_size(to)));
  for (index i = 0; i < n; ++i)
    std::memcpy(&from[static_cast<std::size_t>(i * stride + 1)], &bits[static_cast<std::size_t>(i)], 2);
  table(to).gather(from.data() + 1, stride, half, n, out.data());   // at an odd address
  std::vector<double> v;
  for (index i = 0; i < n; ++i) v.push_back(number_at(out.data() + i * item_size(to), to));
  return v;
}

template <class T> std::vector<std::uint16_t> scattered(const std::vector<T>& x, index stride, dtype half) {
  const index n = static_cast<index>(x.size());
  std::vector<char> to(static_cast<std::size_t>(n * stride + 3), 77);
  table(type_of<T>).scatter(x.data(), n, to.data() + 1, stride, half);
  std::vector<std::uint16_t> bits(x.size());
  for (index i = 0; i < n; ++i)
    std::memcpy(&bits[static_cast<std::size_t>(i)], &to[static_cast<std::size_t>(i * stride + 1)], 2);
  // Nothing beside and between the numbers is touched.
  index touched = (to[0] != 77) + (to[static_cast<std::size_t>((n - 1) * stride + 3)] != 77);
  for (index i = 0; i + 1 < n; ++i)
    for (index b = 2; b < stride; ++b) touched += to[static_cast<std::size_t>(i * stride + 1 + b)] != 77;
  CHECK(touched == 0);
  return bits;
}

}  // namespace

TEST_CASE_TEMPLATE("all halves are read as what they stand for, and written back as they were", T, float, double) {
  std::vector<std::uint16_t> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  for (const half_format& f : formats) {
    for (const index stride : {2, 6}) {
      for (const std::size_t n : {all.size(), all.size() - 7}) {   // with and without a rest of a pack
        const std::vector<std::uint16_t> some(all.end() - static_cast<index>(n), all.end());
        const std::vector<double> v = gathered(some, stride, f.type, type_of<T>);
        const std::vector<std::uint16_t> back = scattered(std::vector<T>(v.begin(), v.end()), stride, f.type);
        index wrong = 0, changed = 0;
        for (std::size_t i = 0; i < n; ++i) {
          const double wanted = by_definition(f, some[i]);
          wrong += canonical(v[i]) != canonical(wanted);
          changed += std::isnan(wanted) ? !std::isnan(by_definition(f, back[i])) : back[i] != some[i];
        }
        INFO("dtype " << static_cast<int>(f.type) << " stride " << stride << " n " << n);
        CHECK(wrong == 0);
        CHECK(changed == 0);
      }
    }
  }
}

TEST_CASE("halves are rounded to nearest, ties to even, at the ends of the range too") {
  for (const half_format& f : formats) {
    const std::vector<double> values = magnitudes(f);
    std::vector<float> x;
    for (std::uint64_t b = 0; b < (1ull << 32); b += 257) x.push_back(float_at(static_cast<std::uint32_t>(b)));
    for (std::size_t i = 0; i + 1 < values.size(); ++i) {   // halfway, and the float on either side
      const float middle = static_cast<float>((values[i] + values[i + 1]) / 2);
      for (const float v : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)}) {
        x.push_back(v);
        x.push_back(-v);
      }
    }
    const std::vector<std::uint16_t> packed = scattered(x, 2, f.type), strided = scattered(x, 4, f.type);
    const std::vector<std::uint16_t> from_double = scattered(std::vector<double>(x.begin(), x.end()), 2, f.type);
    index wrong = 0, apart = 0, lost = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        for (const auto bits : {packed[i], strided[i], from_double[i]}) lost += !std::isnan(by_definition(f, bits));
        continue;
      }
      const unsigned wanted = nearest(values, static_cast<double>(std::fabs(x[i]))) | (std::signbit(x[i]) ? 0x8000u : 0u);
      wrong += packed[i] != wanted;
      apart += strided[i] != packed[i] || from_double[i] != packed[i];
    }
    INFO("dtype " << static_cast<int>(f.type) << " numbers " << x.size());
    CHECK(wrong == 0);
    CHECK(apart == 0);
    CHECK(lost == 0);
  }
}

}  // namespace crossent
