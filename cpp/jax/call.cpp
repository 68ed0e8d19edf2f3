#include "call.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <limits>

#include "core/fp_environment.hpp"

namespace crossent::jax {
namespace {

index byte_width(ffi::DataType type) { return static_cast<index>(ffi::ByteWidth(type)); }

wrong_value internal(std::string message) { return {ffi::ErrorCode::kInternal, std::move(message)}; }

// The position of a name in a list, or -1.
int position_in(std::string_view names, std::string_view name) {
  for (int i = 0; !names.empty(); ++i) {
    const std::size_t end = std::min(names.find(' '), names.size());
    if (names.substr(0, end) == name) return i;
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return -1;
}

// The shortest digits that say which number it is, with a point as Python writes them.
template <class T> std::string written(T value) {
  char digits[64];
  std::string text(digits, std::to_chars(digits, std::end(digits), value).ptr);
  return text.find_first_of(".en") == text.npos ? text + ".0" : text;
}

std::string general(double value) {
  char digits[64];
  static_cast<void>(std::snprintf(digits, sizeof digits, "%g", value));   // there is room for each
  return digits;
}

// XLA takes fresh memory for a large result, whose small pages take longer to get than the result takes to compute. NumPy asks
// for large ones, too.
void ask_for_large_pages(void* data, std::size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t page = std::uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<std::uintptr_t>(data), first = (begin + page - 1) / page * page;
  const std::uintptr_t end = (begin + bytes) / page * page;
  if (first < end) madvise(static_cast<char*>(data) + (first - begin), end - first, MADV_HUGEPAGE);
#endif
}

}  // namespace

index shape::elements() const {
  index n = 1;
  for (int d = 0; d < ndim; ++d) n *= size[d];
  return n;
}

shape shape::without(int axis) const {
  shape rows;
  for (int d = 0; d < ndim; ++d)
    if (d != axis) rows.size[rows.ndim++] = size[d];
  return rows;
}

array::array(const ffi::AnyBuffer& buffer, int example_axes, const shape& as, const shape& examples)
    : type_(buffer.element_type()), examples_(&examples), as_(as) {
  static char nothing;   // an array without elements may be nowhere
  data_ = buffer.untyped_data() == nullptr ? &nothing : static_cast<char*>(buffer.untyped_data());
  const auto sizes = buffer.dimensions();
  given_.ndim = static_cast<int>(sizes.size()) - example_axes;
  const int missing = as.ndim - given_.ndim;
  if (given_.ndim < 0 || missing < 0) throw internal("an array has another number of axes");
  std::fill(strides_, strides_ + missing, 0);
  index stride = byte_width(type_);
  for (int d = static_cast<int>(sizes.size()); d-- > 0; stride *= sizes[d]) {
    const bool in_example = d >= example_axes;
    const int axis = in_example ? d - example_axes + missing : d;
    const index wanted = in_example ? as.size[axis] : examples.size[axis];
    if (sizes[d] != 1 && sizes[d] != wanted) throw internal("an array has another shape");
    (in_example ? strides_ : example_strides_)[axis] = sizes[d] == wanted ? stride : 0;
    if (in_example) given_.size[axis - missing] = sizes[d];
  }
}

char* array::at_offset(index example) const {
  char* at = data_;
  for (int d = examples_->ndim; d-- > 0; example /= examples_->size[d])
    at += example % examples_->size[d] * example_strides_[d];
  return at;
}

bool array::is_integer() const { return type_ != ffi::F16 && type_ != ffi::BF16 && type_ != ffi::F32 && type_ != ffi::F64; }

dtype array::type() const {
  switch (type_) {
    case ffi::F16: return dtype::float16;
    case ffi::BF16: return dtype::bfloat16;
    case ffi::F32: return dtype::float32;
    case ffi::F64: return dtype::float64;
    default: throw internal("an array has a dtype that is not floating");
  }
}

view array::at(index example) const {
  return data_ == nullptr ? view{} : view{at_offset(example), type(), as_.ndim, as_.size, strides_};
}

mutable_view array::output_at(index example) const {
  return data_ == nullptr ? mutable_view{} : mutable_view{at_offset(example), type(), as_.ndim, as_.size, strides_};
}

index_view array::indices_at(index example) const {
  const auto integer = [&] {
    switch (type_) {
      case ffi::S8: return int_dtype::int8;
      case ffi::S16: return int_dtype::int16;
      case ffi::S32: return int_dtype::int32;
      case ffi::S64: return int_dtype::int64;
      case ffi::U8: return int_dtype::uint8;
      case ffi::U16: return int_dtype::uint16;
      case ffi::U32: return int_dtype::uint32;
      case ffi::U64: return int_dtype::uint64;
      default: throw internal("class indices have a dtype that is no integer");
    }
  };
  return {at_offset(example), integer(), as_.ndim, as_.size, strides_};
}

void array::check(const char* name, double low, double high) const {
  if (data_ == nullptr) return;
  // As it lies: what examples or classes share is looked at once.
  index count = given_.elements(), stride = byte_width(type_);
  const index each = std::max<index>(count, 1);
  for (int d = 0; d < examples_->ndim; ++d)
    if (example_strides_[d] != 0) count *= examples_->size[d];
  range_violation found = first_outside({data_, type(), 1, &count, &stride}, low, high);
  if (found.element < 0) return;
  found.element %= each;
  refuse(name, found, low, high);
}

void array::refuse(const char* name, const range_violation& found, double low, double high) const {
  const default_environment environment;   // subnormal numbers are 0 in XLA's
  const std::string value = type() == dtype::float64 ? written(found.value) : written(static_cast<float>(found.value));
  const std::string range = low == -std::numeric_limits<double>::infinity() ? "a finite number or -inf"
                            : 0 < low && low < 1e-44 ? "a finite number > 0"
                                                     : "a finite number in [" + general(low) + ", " + general(high) + "]";
  const char* const hint = std::string_view(name) == "target" ? "; the target is the second argument" : "";
  throw wrong_value{
      ffi::ErrorCode::kInvalidArgument, position(name, found.element) + " is " + value + ": expected " + range + hint};
}

std::string array::position(const char* name, index at) const {
  std::string text;
  for (int d = given_.ndim; d-- > 0; at /= given_.size[d])
    text.insert(0, std::to_string(at % given_.size[d]) + (text.empty() ? "" : ", "));
  return text.empty() ? name : std::string(name) + '[' + text + ']';
}

call::call(ffi::RemainingArgs operands, ffi::RemainingRets results, ffi::Dictionary attributes)
    : operands_(operands), results_(results), attributes_(attributes) {
  operand_names_ = attribute<std::string_view>("operands");
  result_names_ = attribute<std::string_view>("results");
  first_.ndim = static_cast<int>(attribute<std::int64_t>("ndim"));
  const auto first = operands_.get<ffi::AnyBuffer>(0);
  auto result = results_.get<ffi::AnyBuffer>(0);
  if (!first.has_value() || !result.has_value()) throw internal("an operand or a result is missing");
  const auto sizes = first->dimensions();
  example_axes_ = static_cast<int>(sizes.size()) - first_.ndim;
  if (example_axes_ < 0 || static_cast<int>(sizes.size()) > most_axes) throw internal("an array has another number of axes");
  std::copy(sizes.begin() + example_axes_, sizes.end(), first_.size);
  const auto result_sizes = ffi::AnyBuffer(**result).dimensions();   // an operand may be the same for all examples
  if (static_cast<int>(result_sizes.size()) < example_axes_) throw internal("a result has too few axes");
  examples_.ndim = example_axes_;
  std::copy(result_sizes.begin(), result_sizes.begin() + example_axes_, examples_.size);
}

array call::operand(std::string_view name, const shape& as) const {
  const int position = position_in(operand_names_, name);
  if (position < 0) return {};
  const auto buffer = operands_.get<ffi::AnyBuffer>(static_cast<std::size_t>(position));
  if (!buffer.has_value()) throw internal("an operand is missing");
  return array(*buffer, example_axes_, as, examples_);
}

array call::result(std::string_view name, const shape& as) const {
  const int position = position_in(result_names_, name);
  if (position < 0) return {};
  auto buffer = results_.get<ffi::AnyBuffer>(static_cast<std::size_t>(position));
  if (!buffer.has_value()) throw internal("a result is missing");
  ask_for_large_pages((*buffer)->untyped_data(), (*buffer)->size_bytes());
  return array(**buffer, example_axes_, as, examples_);
}

}  // namespace crossent::jax
