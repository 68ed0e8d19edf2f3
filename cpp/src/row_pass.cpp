#include "row_pass.hpp"

#include <algorithm>
#include <cstring>

#include "half.hpp"
#include "stream.hpp"

namespace crossent {
namespace {

constexpr index cached_bytes = 1 << 18;       // of the rows of a group
constexpr index reread_bytes = 1 << 17;       // the same where they are read again, beside a stream of output

// Rows per group: as many as stay in cache, in whole tiles, and few enough to keep the threads busy.
index choose_group(const row_operation& op, index rows, int threads) {
  const index lanes = op.across ? op.kernel().lanes : 1, classes = std::min(op.classes, cached_bytes);
  index row_bytes = 0;
  for (const row_input& input : op.inputs) row_bytes += classes * item_size(input.array.type);
  index n = std::clamp<index>((op.out.data == nullptr ? cached_bytes : reread_bytes) / row_bytes, 1, group_rows);
  n = std::min(n, std::max<index>(8, rows / (4 * threads)));
  return std::clamp<index>((n + lanes - 1) / lanes * lanes, lanes, group_rows);
}

// Room for a tile of each worker, where one does not fit the stack.
struct tile_memory {
  line_memory memory;

  tile_memory(const row_operation& op, int threads) {
    if (op.across && op.classes > across_classes) memory.reserve(threads * tile_bytes);
  }
  char* of(int worker) const { return memory.data() == nullptr ? nullptr : memory.data() + worker * tile_bytes; }
};

void start(const row_operation& op, row_group& g, index first, index count) {
  const auto point = [&](const row_array& a, auto** rows) {
    a.rows.for_each_stretch(first, count, [&, to = rows](index offset, index n, index stride) mutable {
      char* row = a.data + offset;
      for (index i = 0; i < n; ++i, row += stride) to[i] = row;
      to += n;
    });
  };
  g.first = first;
  g.count = count;
  for (std::size_t k = 0; k < op.inputs.size(); ++k) {
    const char** x = g.in[k].x;
    point(op.inputs[k].array, x);
    for (index i = count; i < group_rows && i % pack_rows != 0; ++i) x[i] = x[count - 1];
  }
  if (op.out.data == nullptr) return;
  point(op.out, g.out);
}

void reserve(const row_operation& op, row_group& g, index rows) {
  g.blocks = op.blocks();
  if (op.has_cross_entropy) g.hard = std::make_unique<cross_entropy_state>();
  if (op.has_divergence) g.soft = std::make_unique<divergence_state>();
  g.in.reset(new row_reading[op.inputs.size()]);
  for (std::size_t k = 0; k < op.inputs.size(); ++k) g.in[k].precise = op.type == dtype::float64;
  for (std::size_t k = 0; k < op.inputs.size(); ++k)
    if (op.inputs[k].statistics) g.in[k].statistics.assign(static_cast<std::size_t>(6 * (rows * g.blocks + pack_rows)), 0.0);
  if (!op.keeps_terms) return;
  const index size = item_size(op.type), lanes = op.kernel().lanes;
  row_reading& x = g.in[0];
  x.terms.reserve(group_rows * op.classes * size);
  for (index i = 0; i < group_rows; ++i)
    x.row_terms[i] = x.terms.data() + (i / lanes * lanes * op.classes + i % lanes) * size;
}

void take_statistics(const row_operation& op, row_group& g, index begin, index end, char* tile) {
  for (int k = 0; k < static_cast<int>(op.inputs.size()); ++k) {
    if (!op.inputs[static_cast<std::size_t>(k)].statistics) continue;
    block_statistics to = g.in[k].block_stats();
    to.tile = tile;
    op.kernel().statistics(op.input(g, k), begin, end, op.scale(k), to);
  }
}

void fold(const row_operation& op, row_group& g) {
  for (int k = 0; k < static_cast<int>(op.inputs.size()); ++k)
    if (op.inputs[static_cast<std::size_t>(k)].statistics)
      op.kernel().fold(g.count, g.blocks, op.scale(k), g.in[k].block_stats(), g.in[k].state());
}

void run_groups(row_operation& op, index rows, index group, int threads, const execution& e) {
  const index blocks = op.blocks();
  const tile_memory tiles(op, threads);
  const std::unique_ptr<row_group[]> groups(new row_group[static_cast<std::size_t>(threads)]);
  for (int i = 0; i < threads; ++i) reserve(op, groups[static_cast<std::size_t>(i)], group);
  parallel_for((rows + group - 1) / group, work_of(group, op.classes, op.cost), threads, e, [&](index begin, index end, int worker) {
    row_group& g = groups[static_cast<std::size_t>(worker)];
    for (index k = begin; k < end; ++k) {
      start(op, g, k * group, std::min(group, rows - k * group));
      op.prepare(g);
      take_statistics(op, g, 0, blocks, tiles.of(worker));
      fold(op, g);
      op.settle(g);
      if (op.sums) op.sum(g, 0, blocks);
      op.finish(g);
      if (op.out.data == nullptr) continue;
      op.write(g, 0, blocks);
      op.complete(g);
    }
    if (op.stream) stream_fence();
  });
}

// Few rows, which are all in flight, or long ones, one group after the other: the threads share the blocks of each.
void run_blocks(row_operation& op, index rows, index group, int threads, const execution& e) {
  const index blocks = op.blocks(), groups = (rows + group - 1) / group, work = work_of(group, op.classes, op.cost);
  const index most = work > longest_unit ? 1 : std::min<index>(groups, 4 * threads);
  const tile_memory tiles(op, threads);
  const std::unique_ptr<row_group[]> flight(new row_group[static_cast<std::size_t>(most)]);
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
    over_runs([&](row_group& g, index begin, index end, int worker) { take_statistics(op, g, begin, end, tiles.of(worker)); });
    over_groups(group * blocks, [&](row_group& g) {
      fold(op, g);
      op.settle(g);
      if (!op.sums) op.finish(g);
    });
    if (op.sums) {
      if (!op.sums_in_order) over_runs([&](row_group& g, index begin, index end, int) { op.sum(g, begin, end); });
      for (index run = 0; run < runs && op.sums_in_order; ++run)
        over_groups(work / runs,
                    [&](row_group& g) { op.sum(g, share_of(blocks, run, runs), share_of(blocks, run + 1, runs)); });
      over_groups(group * blocks, [&](row_group& g) { op.finish(g); });
    }
    if (op.out.data == nullptr) continue;
    over_runs([&](row_group& g, index begin, index end, int) { op.write(g, begin, end); });
    for (index k = 0; k < count; ++k) op.complete(flight[static_cast<std::size_t>(k)]);
  }
}

}  // namespace

void row_operation::sum(row_group&, index, index) {}
void row_operation::write(row_group&, index, index) {}

int row_operation::read(const view& v, int axis, double temperature, bool statistics) {
  inputs.push_back({row_array(v, axis), kernel().inverse_of(temperature), statistics});
  return static_cast<int>(inputs.size()) - 1;
}

void row_operation::scale_factors(row_group& g, const double* from_shift, double* factor, double* shift) const {
  g.from_terms = keeps_terms && kernel().scale_terms(g.count, factor);
  if (g.from_terms) return;
  std::copy_n(from_shift, g.count, shift);
  kernel().spread(g.count, factor, shift);
}

void row_operation::write_exp(const row_group& g, const source* q, index begin, index end, const row_scale& s) const {
  if (!g.from_terms) return kernel().write_exp(input(g, 0), q, output(g), begin, end, scale(0), s);
  const source terms{g.in[0].row_terms, g.count, classes, kernel().lanes * item_size(type), type, true};
  kernel().write_terms(terms, output(g), s);
}

void row_operation::leave_out(row_group& g, const double* row_weight) const {
  if (across) return;
  for (index i = 0; i < g.count; ++i)
    for (std::size_t k = 0; row_weight[i] == 0 && k < inputs.size(); ++k) g.in[k].x[i] = nullptr;
}

void describe(row_operation& op, const view& x, int axis, double temperature, const mutable_view& out) {
  op.type = arithmetic(x.type);
  op.classes = x.shape[axis];
  op.read(x, axis, temperature);
  if (out.data != nullptr) op.out = row_array(out, axis);
  const row_array& a = op.inputs[0].array;
  const index size = item_size(x.type), inner = a.rows.inner_stride();
  const bool contiguous = a.class_stride == size || op.classes == 1;
  op.across = contiguous ? op.classes <= across_classes : inner == size || op.classes <= across_classes;
  const index bytes = a.rows.rows() * op.classes * size;
  op.stream = op.out.data != nullptr && op.out.data != a.data && bytes > streamed_bytes;
}

bool may_keep_terms(const row_operation& op) {
  return op.out.data != nullptr && op.across && op.classes <= across_classes;
}

void run_rows(row_operation& op, const execution& e) {
  const index rows = op.inputs[0].array.rows.rows();
  if (rows == 0) return;
  const int threads = threads_for(rows * op.classes, e);
  const index group = choose_group(op, rows, threads);
  const bool are_few = threads > 1 && rows < 4 * threads * group && op.blocks() >= 4;
  if (are_few || work_of(group, op.classes, op.cost) > longest_unit) run_blocks(op, rows, group, threads, e);
  else run_groups(op, rows, group, threads, e);
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
