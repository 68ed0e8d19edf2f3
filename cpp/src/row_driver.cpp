#include "row_driver.hpp"

#include <algorithm>
#include <cstring>

#include "half.hpp"
#include "stream.hpp"

namespace crossent {
namespace {

constexpr index cached_bytes = 1 << 18;       // of the rows of a group
constexpr index reread_bytes = 1 << 17;       // the same where they are read again, beside a stream of output

// Rows per group: as many as stay in cache, in whole tiles, and few enough to keep the threads busy.
index choose_batch(const row_operation& op, index rows, int threads) {
  const index lanes = op.lanes_over_rows ? op.kernel().lanes : 1, classes = std::min(op.classes, cached_bytes);
  index row_bytes = 0;
  for (const row_input& input : op.inputs) row_bytes += classes * item_size(input.array.type);
  index n = std::clamp<index>((op.out.data == nullptr ? cached_bytes : reread_bytes) / row_bytes, 1, batch_rows);
  n = std::min(n, std::max<index>(8, rows / (4 * threads)));
  return std::clamp<index>((n + lanes - 1) / lanes * lanes, lanes, batch_rows);
}

// Room for a tile of each worker, where one does not fit the stack.
struct tile_memory {
  line_memory memory;

  tile_memory(const row_operation& op, int threads) {
    if (op.lanes_over_rows && op.classes > tile_classes) memory.reserve(threads * tile_bytes);
  }
  char* of(int worker) const { return memory.data() == nullptr ? nullptr : memory.data() + worker * tile_bytes; }
};

void start(const row_operation& op, row_batch& batch, index first, index count) {
  const auto point = [&](const row_array& a, auto** rows) {
    a.rows.for_each_strided_run(first, count, [&, to = rows](index offset, index n, index stride) mutable {
      char* row = a.data + offset;
      for (index i = 0; i < n; ++i, row += stride) to[i] = row;
      to += n;
    });
  };
  batch.first = first;
  batch.count = count;
  for (std::size_t k = 0; k < op.inputs.size(); ++k) {
    const char** x = batch.in[k].x;
    point(op.inputs[k].array, x);
    for (index i = count; i < batch_rows && i % pack_rows != 0; ++i) x[i] = x[count - 1];
  }
  if (op.out.data == nullptr) return;
  point(op.out, batch.out);
}

void reserve(const row_operation& op, row_batch& batch, index rows) {
  batch.blocks = op.blocks();
  if (op.has_cross_entropy) batch.cross_entropy = std::make_unique<cross_entropy_state>();
  if (op.has_divergence) batch.divergence = std::make_unique<divergence_state>();
  batch.in.reset(new row_statistics[op.inputs.size()]);
  for (std::size_t k = 0; k < op.inputs.size(); ++k) batch.in[k].extended = op.type == dtype::float64;
  for (std::size_t k = 0; k < op.inputs.size(); ++k)
    if (op.inputs[k].statistics) batch.in[k].statistics.assign(static_cast<std::size_t>(6 * (rows * batch.blocks + pack_rows)), 0.0);
  if (!op.cache_exponentials) return;
  const index size = item_size(op.type), lanes = op.kernel().lanes;
  row_statistics& x = batch.in[0];
  x.terms.reserve(batch_rows * op.classes * size);
  for (index i = 0; i < batch_rows; ++i)
    x.cached_rows[i] = x.terms.data() + (i / lanes * lanes * op.classes + i % lanes) * size;
}

void take_statistics(const row_operation& op, row_batch& batch, index begin, index end, char* tile) {
  for (int k = 0; k < static_cast<int>(op.inputs.size()); ++k) {
    if (!op.inputs[static_cast<std::size_t>(k)].statistics) continue;
    block_statistics to = batch.in[k].statistics_of_blocks();
    to.tile = tile;
    op.kernel().statistics(op.input(batch, k), begin, end, op.scale(k), to);
  }
}

void merge_blocks(const row_operation& op, row_batch& batch) {
  for (int k = 0; k < static_cast<int>(op.inputs.size()); ++k)
    if (op.inputs[static_cast<std::size_t>(k)].statistics)
      op.kernel().merge_blocks(batch.count, batch.blocks, op.scale(k), batch.in[k].statistics_of_blocks(), batch.in[k].state());
}

void run_batches(row_operation& op, index rows, index group, int threads, const execution& e) {
  const index blocks = op.blocks();
  const tile_memory tiles(op, threads);
  const std::unique_ptr<row_batch[]> groups(new row_batch[static_cast<std::size_t>(threads)]);
  for (int i = 0; i < threads; ++i) reserve(op, groups[static_cast<std::size_t>(i)], group);
  parallel_for((rows + group - 1) / group, work_of(group, op.classes, op.cost), threads, e, [&](index begin, index end, int worker) {
    row_batch& batch = groups[static_cast<std::size_t>(worker)];
    for (index k = begin; k < end; ++k) {
      start(op, batch, k * group, std::min(group, rows - k * group));
      op.prepare(batch);
      take_statistics(op, batch, 0, blocks, tiles.of(worker));
      merge_blocks(op, batch);
      op.settle(batch);
      if (op.sums) op.sum(batch, 0, blocks);
      op.finish(batch);
      if (op.out.data == nullptr) continue;
      op.write(batch, 0, blocks);
      op.complete(batch);
    }
    if (op.stream) stream_fence();
  });
}

// Few rows, which are all in flight, or long ones, one group after the other: the threads share the blocks of each.
void run_blocks(row_operation& op, index rows, index group, int threads, const execution& e) {
  const index blocks = op.blocks(), groups = (rows + group - 1) / group, work = work_of(group, op.classes, op.cost);
  const index most = work > longest_unit ? 1 : std::min<index>(groups, 4 * threads);
  const tile_memory tiles(op, threads);
  const std::unique_ptr<row_batch[]> flight(new row_batch[static_cast<std::size_t>(most)]);
  for (index k = 0; k < most; ++k) reserve(op, flight[static_cast<std::size_t>(k)], group);
  patience caller(e);
  for (index first = 0; first < groups; first += most) {
    const index count = std::min(most, groups - first);
    const index wanted = std::max((8 * threads + count - 1) / count, (work - 1) / longest_unit + 1);
    const index runs = std::min(blocks, wanted);
    const auto over_groups = [&](index group_work, auto f) {
      parallel_for(count, group_work, threads, e, [&](index begin, index end, int) {
        for (index k = begin; k < end; ++k) f(flight[static_cast<std::size_t>(k)]);
      });
      caller.ask();
    };
    const auto over_runs = [&](auto f) {
      parallel_for(count * runs, work / runs, threads, e, [&](index begin, index end, int worker) {
        for (index u = begin; u < end; ++u)
          f(flight[static_cast<std::size_t>(u / runs)], share_of(blocks, u % runs, runs), share_of(blocks, u % runs + 1, runs),
            worker);
        if (op.stream) stream_fence();
      });
      caller.ask();
    };
    for (index k = 0; k < count; ++k) {
      const index row = (first + k) * group;
      start(op, flight[static_cast<std::size_t>(k)], row, std::min(group, rows - row));
      op.prepare(flight[static_cast<std::size_t>(k)]);
    }
    over_runs([&](row_batch& batch, index begin, index end, int worker) { take_statistics(op, batch, begin, end, tiles.of(worker)); });
    over_groups(group * blocks, [&](row_batch& batch) {
      merge_blocks(op, batch);
      op.settle(batch);
      if (!op.sums) op.finish(batch);
    });
    if (op.sums) {
      if (!op.sums_in_order) over_runs([&](row_batch& batch, index begin, index end, int) { op.sum(batch, begin, end); });
      for (index run = 0; run < runs && op.sums_in_order; ++run)
        over_groups(work / runs,
                    [&](row_batch& batch) { op.sum(batch, share_of(blocks, run, runs), share_of(blocks, run + 1, runs)); });
      over_groups(group * blocks, [&](row_batch& batch) { op.finish(batch); });
    }
    if (op.out.data == nullptr) continue;
    over_runs([&](row_batch& batch, index begin, index end, int) { op.write(batch, begin, end); });
    for (index k = 0; k < count; ++k) op.complete(flight[static_cast<std::size_t>(k)]);
  }
}

}  // namespace

void row_operation::sum(row_batch&, index, index) {}
void row_operation::write(row_batch&, index, index) {}

int row_operation::read(const view& v, int axis, double temperature, bool statistics) {
  inputs.push_back({row_array(v, axis), kernel().inverse_temperature_of(temperature), statistics});
  return static_cast<int>(inputs.size()) - 1;
}

void row_operation::scale_factors(row_batch& batch, const double* from_exponent, double* factor, double* exponent) const {
  batch.from_cache = cache_exponentials && kernel().unbias_factors(batch.count, factor);
  if (batch.from_cache) return;
  std::copy_n(from_exponent, batch.count, exponent);
  kernel().split_exponents(batch.count, factor, exponent);
}

void row_operation::write_softmax_gradient(const row_batch& batch, const source* q, index begin, index end, const row_scale& s) const {
  if (!batch.from_cache) return kernel().write_softmax_gradient(input(batch, 0), q, output(batch), begin, end, scale(0), s);
  const source terms{batch.in[0].cached_rows, batch.count, classes, kernel().lanes * item_size(type), type, true};
  kernel().write_cached_gradient(terms, output(batch), s);
}

void row_operation::skip_zero_weight_rows(row_batch& batch, const double* row_weight) const {
  if (lanes_over_rows) return;
  for (index i = 0; i < batch.count; ++i)
    for (std::size_t k = 0; row_weight[i] == 0 && k < inputs.size(); ++k) batch.in[k].x[i] = nullptr;
}

void describe(row_operation& op, const view& x, int axis, double temperature, const mutable_view& out) {
  op.type = arithmetic(x.type);
  op.classes = x.shape[axis];
  op.read(x, axis, temperature);
  if (out.data != nullptr) op.out = row_array(out, axis);
  const row_array& a = op.inputs[0].array;
  const index size = item_size(x.type), inner = a.rows.inner_stride();
  const bool contiguous = a.class_stride == size || op.classes == 1;
  op.lanes_over_rows = contiguous ? op.classes <= tile_classes : inner == size || op.classes <= tile_classes;
  const index bytes = a.rows.rows() * op.classes * size;
  op.stream = op.out.data != nullptr && op.out.data != a.data && bytes > streamed_bytes;
}

bool may_cache_exponentials(const row_operation& op) {
  return op.out.data != nullptr && op.lanes_over_rows && op.classes <= tile_classes;
}

void run_rows(row_operation& op, const execution& e) {
  const index rows = op.inputs[0].array.rows.rows();
  if (rows == 0) return;
  const int threads = threads_for(rows * op.classes, e);
  const index group = choose_batch(op, rows, threads);
  const bool are_few = threads > 1 && rows < 4 * threads * group && op.blocks() >= 4;
  if (are_few || work_of(group, op.classes, op.cost) > longest_unit) run_blocks(op, rows, group, threads, e);
  else run_batches(op, rows, group, threads, e);
}

namespace {

// f(number) for a type that reads one number of the dtype.
template <class F> auto with_float_type(dtype type, F&& f) {
  const auto get = [](auto zero, auto convert) {
    return [=](const void* from) {
      auto v = zero;
      std::memcpy(&v, from, sizeof v);
      return static_cast<double>(convert(v));
    };
  };
  const auto same = [](auto v) { return v; };
  switch (type) {
    case dtype::float64: return f(get(double{}, same));
    case dtype::float32: return f(get(float{}, same));
    case dtype::float16: return f(get(std::uint16_t{}, from_float16));
    default: return f(get(std::uint16_t{}, from_bfloat16));
  }
}

}  // namespace

double load_number(const void* from, dtype type) {
  return with_float_type(type, [&](auto number) { return number(from); });
}

void load_class(const row_array& a, index count, const char* const* rows, const index* y, const double* row_weight, double* out) {
  with_float_type(a.type, [&](auto number) {
    for (index i = 0; i < count; ++i) out[i] = row_weight[i] != 0 ? number(rows[i] + y[i] * a.class_stride) : 0;
  });
}

double load_rounded(const void* from, dtype type, dtype arithmetic) {
  const double v = load_number(from, type);
  return arithmetic == dtype::float32 ? static_cast<double>(static_cast<float>(v)) : v;
}

}  // namespace crossent
