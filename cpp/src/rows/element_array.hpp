// The elements of a strided array in C order, in blocks as kernels take them: contiguous and in the arithmetic dtype.
#pragma once

#include "core/kernels.hpp"
#include "core/layout.hpp"

namespace crossent {

constexpr index block_elements = block_size;

// The elements of an array in C order; data == nullptr: none are given.
struct element_array {
  char* data = nullptr;
  dtype type = dtype::float32;
  row_layout positions;

  element_array() = default;
  template <class View>
  explicit element_array(const View& v)
      // NOLINTNEXTLINE(bugprone-casting-through-void): v.data is void*, or const
      : data(static_cast<char*>(const_cast<void*>(v.data))), type(v.type), positions(v.ndim, v.shape, v.strides, -1) {}

  // Where n elements lie, if they lie as the kernels want them.
  char* direct(index first, index n, dtype wanted) const {
    char* at = nullptr;
    if (type != wanted) return at;
    positions.for_each_strided_run(first, n, [&](index offset, index length, index stride) {
      if (length == n && (stride == item_size(type) || n == 1)) at = data + offset;
    });
    return at;
  }
  const void* read(index first, index n, dtype wanted, char* buffer) const {
    if (data == nullptr) return nullptr;
    if (const char* at = direct(first, n, wanted)) return at;
    char* to = buffer;
    positions.for_each_strided_run(first, n, [&](index offset, index length, index stride) {
      kernels(wanted).gather(data + offset, stride, type, length, to);
      to += length * item_size(wanted);
    });
    return buffer;
  }
  void write(index first, index n, dtype from_type, const char* buffer) const {
    positions.for_each_strided_run(first, n, [&](index offset, index length, index stride) {
      kernels(from_type).scatter(buffer, length, data + offset, stride, type);
      buffer += length * item_size(from_type);
    });
  }
};

}  // namespace crossent
