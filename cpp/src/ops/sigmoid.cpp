// sigmoid and log_sigmoid: an element of the result from one of the logits.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "core/fp_environment.hpp"
#include "core/parallel.hpp"
#include "rows/element_array.hpp"

namespace crossent {
namespace {

// The axes of a view in another order.
struct ordered_axes {
  index shape[max_axes], strides[max_axes];

  template <class View> View of(const View& v, const std::vector<int>& order) {
    for (int d = 0; d < v.ndim; ++d) {
      shape[d] = v.shape[order[static_cast<std::size_t>(d)]];
      strides[d] = v.strides[order[static_cast<std::size_t>(d)]];
    }
    return {v.data, v.type, v.ndim, shape, strides};
  }
};

// From far to near in memory. No element knows of another, so that their order is free.
std::vector<int> memory_order(const view& x) {
  std::vector<int> order(static_cast<std::size_t>(x.ndim));
  for (int d = 0; d < x.ndim; ++d) order[static_cast<std::size_t>(d)] = d;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return std::abs(x.strides[a]) > std::abs(x.strides[b]); });
  return order;
}

struct alignas(64) map_buffers {
  char in[block_elements * 8], out[block_elements * 8];
};

void map_elements(map_kernel f, const view& x, const mutable_view& out, const execution& e) {
  const default_environment environment;
  const std::vector<int> order = memory_order(x);
  ordered_axes of_x, of_out;
  const element_array from(of_x.of(x, order)), to(of_out.of(out, order));
  const dtype type = arithmetic(x.type);
  const index count = from.positions.rows(), blocks = (count + block_elements - 1) / block_elements;
  const int threads = threads_for(count, e);
  const std::unique_ptr<map_buffers[]> buffers(new map_buffers[static_cast<std::size_t>(threads)]);
  parallel_for(blocks, block_elements, threads, e, [&](index begin, index end, int worker) {
    map_buffers& buffer = buffers[static_cast<std::size_t>(worker)];
    for (index k = begin; k < end; ++k) {
      const index first = k * block_elements, n = std::min(block_elements, count - first);
      char* const at = to.direct(first, n, type);
      f(from.read(first, n, type, buffer.in), at ? at : buffer.out, n);
      if (!at) to.write(first, n, type, buffer.out);
    }
  });
}

}  // namespace

void sigmoid(const view& x, const mutable_view& out, const execution& e) { map_elements(kernels(x.type).sigmoid, x, out, e); }

void log_sigmoid(const view& x, const mutable_view& out, const execution& e) {
  map_elements(kernels(x.type).log_sigmoid, x, out, e);
}

}  // namespace crossent
