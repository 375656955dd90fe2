// Selective scan of Mamba-1 on a CPU, forward and backward, float32, channels last.
//
// With dt = softplus(delta + bias):
//   h_t = exp(dt A) h_{t-1} + dt B u,   y = C . h_t + D u,   out = y SiLU(z)
//
// LANES channels at a position are one vector register. States are kept only at every INTERVAL-th
// position; the backward pass computes those between them again. The result does not depend on the
// number of threads: every sum has a fixed order, and what is summed over channels goes through
// partial sums, each made by one task.
//
// Plain C++ without headers of torch, called through ctypes: it compiles in two seconds. The
// structs are declared a second time in compiled_scan.py.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int STATE = 16;
#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr int INTERVAL = 64;
constexpr int64_t GROUPS = 8;
constexpr float LOG2_E = 1.44269504088896341f, LN_2 = 0.693147180559945309f;

typedef float Vector __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t Integers __attribute__((vector_size(LANES * sizeof(float))));

inline Vector broadcast(float x) { return Vector{} + x; }

inline Vector larger(Vector x, float low) { return x > low ? x : broadcast(low); }
inline Vector smaller(Vector x, float high) { return x < high ? x : broadcast(high); }

// 2^x to 2e-7 relative, Cephes exp2f; underflows to 2^-126, overflows to 2^127.
inline Vector power_of_two(Vector x) {
  x = smaller(larger(x, -126.0f), 127.0f);
  // adding 1.5 * 2^23 rounds to the nearest integer, which is then in the lowest bits.
  const Vector shifted = x + 12582912.0f;
  const Vector r = x - (shifted - 12582912.0f);
  Vector p = 1.535336188319500e-4f * r + 1.339887440266574e-3f;
  p = p * r + 9.618437357674640e-3f;
  p = p * r + 5.550332471162809e-2f;
  p = p * r + 2.402264791363012e-1f;
  p = p * r + 6.931472028550421e-1f;
  p = p * r + 1.0f;
  return (Vector)((Integers)p + ((Integers)shifted << 23));
}

inline Vector absolute(Vector x) { return (Vector)((Integers)x & 0x7fffffff); }

// log(1 + e) for e in [0, 1] as 2 atanh(e / (2 + e)); small e keep all their digits, which
// log(1 + e) in float32 does not give them.
inline Vector log_one_plus(Vector e) {
  const Vector s = e / (2.0f + e), q = s * s;
  Vector p = q * (1.0f / 15.0f) + 1.0f / 13.0f;
  p = p * q + 1.0f / 11.0f;
  p = p * q + 1.0f / 9.0f;
  p = p * q + 1.0f / 7.0f;
  p = p * q + 1.0f / 5.0f;
  p = p * q + 1.0f / 3.0f;
  p = p * q + 1.0f;
  return 2.0f * s * p;
}

inline Vector logistic(Vector x) {
  const Vector e = power_of_two(absolute(x) * -LOG2_E);
  return (x > 0.0f ? broadcast(1.0f) : e) / (1.0f + e);
}

inline Vector load(const float* from, int width) {
  Vector x{};
  if (width == LANES)
    std::memcpy(&x, from, sizeof x);
  else
    for (int j = 0; j < width; j++) x[j] = from[j];
  return x;
}

inline void store(float* to, Vector x, int width) {
  if (width == LANES)
    std::memcpy(to, &x, sizeof x);
  else
    for (int j = 0; j < width; j++) to[j] = x[j];
}

// to[n] += sum over lanes of x[n], for all n: a transposition that adds on its way.
#if defined(__AVX__)
typedef float Eight __attribute__((vector_size(32)));
typedef int32_t Mask __attribute__((vector_size(32)));
#if defined(__clang__)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIX(a, b, ...) __builtin_shuffle(a, b, Mask{__VA_ARGS__})
#endif

inline Eight folded(Vector x) {
  Eight parts[LANES / 8];
  std::memcpy(parts, &x, sizeof parts);
  return LANES == 8 ? parts[0] : parts[0] + parts[LANES / 8 - 1];
}

inline void add_sums(float* to, const Vector* x) {
  for (int n = 0; n < STATE; n += 8) {
    Eight pairs[4], fours[2], all;
    for (int i = 0; i < 4; i++) {
      const Eight a = folded(x[n + 2 * i]), b = folded(x[n + 2 * i + 1]);
      pairs[i] = MIX(a, b, 0, 8, 1, 9, 4, 12, 5, 13) + MIX(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 2; i++) {
      const Eight a = pairs[2 * i], b = pairs[2 * i + 1];
      fours[i] = MIX(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + MIX(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
    const Eight a = fours[0], b = fours[1];
    std::memcpy(&all, to + n, sizeof all);
    all += MIX(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + MIX(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    std::memcpy(to + n, &all, sizeof all);
  }
}
#else
inline void add_sums(float* to, const Vector* x) {
  for (int n = 0; n < STATE; n++)
    for (int j = 0; j < LANES; j++) to[n] += x[n][j];
}
#endif

struct Shape {
  int64_t batch, length, channels;
  int32_t softplus, reverse, threads;
  int64_t blocks() const { return (channels + LANES - 1) / LANES; }
  int64_t groups() const { return std::min(GROUPS, blocks()); }
  int64_t chunks() const { return (length + INTERVAL - 1) / INTERVAL; }
  int64_t position(int64_t step) const { return reverse ? length - 1 - step : step; }
  int64_t border(int64_t b, int64_t block, int64_t chunk) const {
    return ((b * blocks() + block) * chunks() + chunk) * STATE * LANES;
  }
};

struct Inputs {
  const float *u, *delta, *A, *B, *C, *D, *bias, *z;
};

// In the order of Inputs. One slot per sequence for A, D and bias: (B, D, N), (B, D), (B, D); one
// slot per group for B and C: (G, B, L, N).
struct Gradients {
  float *u, *delta, *A, *B, *C, *D, *bias, *z;
};

// A block of channels: its share of A, in units of log 2, of D and of the bias.
struct Block {
  int64_t first;
  int width;
  Vector A[STATE], D, bias;

  Block(const Inputs& in, const Shape& shape, int64_t block) {
    first = block * LANES;
    width = static_cast<int>(std::min<int64_t>(LANES, shape.channels - first));
    D = load(in.D + first, width);
    bias = load(in.bias + first, width);
    for (int n = 0; n < STATE; n++) {
      A[n] = Vector{};
      for (int j = 0; j < width; j++) A[n][j] = in.A[(first + j) * STATE + n] * LOG2_E;
    }
  }

  // step size, and its derivative by delta
  Vector step_size(Vector delta, bool softplus, Vector& slope) const {
    const Vector q = delta + bias;
    if (!softplus) {
      slope = broadcast(1.0f);
      return q;
    }
    const Vector e = power_of_two(absolute(q) * -LOG2_E);
    slope = (q > 0.0f ? broadcast(1.0f) : e) / (1.0f + e);
    return larger(q, 0.0f) + log_one_plus(e);
  }
};

void forward_block(const Inputs& in, const Shape& shape, float* out, float* borders, int64_t b,
                   int64_t k) {
  const int64_t L = shape.length, D = shape.channels;
  const Block block(in, shape, k);
  Vector h[STATE] = {}, slope;
  for (int64_t step = 0; step < L; step++) {
    const int64_t t = shape.position(step), at = (b * L + t) * D + block.first;
    if (borders && step % INTERVAL == 0)
      std::memcpy(borders + shape.border(b, k, step / INTERVAL), h, sizeof h);
    const Vector u = load(in.u + at, block.width);
    const Vector dt = block.step_size(load(in.delta + at, block.width), shape.softplus, slope);
    const Vector x = dt * u;
    Vector y = block.D * u;
    const float *B = in.B + (b * L + t) * STATE, *C = in.C + (b * L + t) * STATE;
    for (int n = 0; n < STATE; n++) {
      h[n] = power_of_two(dt * block.A[n]) * h[n] + x * B[n];
      y += h[n] * C[n];
    }
    if (in.z) {
      const Vector z = load(in.z + at, block.width);
      y *= z * logistic(z);
    }
    store(out + at, y, block.width);
  }
}

// Scratch memory of one thread: one chunk of one block.
struct Scratch {
  Vector states[INTERVAL + 1][STATE], decay[INTERVAL][STATE];
  Vector dt[INTERVAL], slope[INTERVAL], u[INTERVAL];
};

void backward_block(const Inputs& in, const Shape& shape, const float* borders,
                    const float* grad_out, const Gradients& grad, int64_t b, int64_t k,
                    int64_t group, Scratch& kept) {
  const int64_t L = shape.length, D = shape.channels;
  const Block block(in, shape, k);
  Vector carry[STATE] = {}, grad_A[STATE] = {}, grad_D{}, grad_bias{};
  float* const grad_B = grad.B + group * shape.batch * L * STATE;
  float* const grad_C = grad.C + group * shape.batch * L * STATE;
  for (int64_t chunk = shape.chunks() - 1; chunk >= 0; chunk--) {
    const int64_t from = chunk * INTERVAL, until = std::min<int64_t>(L, from + INTERVAL);
    std::memcpy(kept.states[0], borders + shape.border(b, k, chunk), sizeof kept.states[0]);
    for (int64_t step = from; step < until; step++) {
      const int64_t t = shape.position(step), i = step - from, at = (b * L + t) * D + block.first;
      const Vector u = kept.u[i] = load(in.u + at, block.width);
      const Vector delta = load(in.delta + at, block.width);
      const Vector dt = kept.dt[i] = block.step_size(delta, shape.softplus, kept.slope[i]);
      const Vector x = dt * u;
      const float* B = in.B + (b * L + t) * STATE;
      for (int n = 0; n < STATE; n++) {
        const Vector decay = power_of_two(dt * block.A[n]);
        kept.decay[i][n] = decay;
        kept.states[i + 1][n] = decay * kept.states[i][n] + x * B[n];
      }
    }
    for (int64_t step = until - 1; step >= from; step--) {
      const int64_t t = shape.position(step), i = step - from, at = (b * L + t) * D + block.first;
      const Vector dt = kept.dt[i], u = kept.u[i], x = dt * u;
      const float *B = in.B + (b * L + t) * STATE, *C = in.C + (b * L + t) * STATE;
      Vector g = load(grad_out + at, block.width), y = block.D * u;
      Vector grad_x{}, grad_dt{}, grad_z{};
      if (in.z) {
        const Vector z = load(in.z + at, block.width), open = logistic(z);
        grad_z = g * open * (1.0f + z * (1.0f - open));
        g *= z * open;
      }
      Vector sums_b[STATE], sums_c[STATE];
      for (int n = 0; n < STATE; n++) {
        const Vector h = kept.states[i + 1][n], decay = kept.decay[i][n];
        const Vector q = carry[n] + g * C[n];
        carry[n] = q * decay;
        const Vector exponent = carry[n] * kept.states[i][n];
        y += h * C[n];
        sums_c[n] = g * h;
        sums_b[n] = q * x;
        grad_dt += exponent * block.A[n];
        grad_A[n] += exponent * dt;
        grad_x += q * B[n];
      }
      add_sums(grad_B + (b * L + t) * STATE, sums_b);
      add_sums(grad_C + (b * L + t) * STATE, sums_c);
      const Vector step_gradient = (LN_2 * grad_dt + grad_x * u) * kept.slope[i];
      store(grad.u + at, grad_x * dt + g * block.D, block.width);
      store(grad.delta + at, step_gradient, block.width);
      if (in.z) store(grad.z + at, grad_z * y, block.width);
      grad_bias += step_gradient;
      grad_D += g * u;
    }
  }
  const int64_t channel = b * D + block.first;
  for (int j = 0; j < block.width; j++)
    for (int n = 0; n < STATE; n++) grad.A[(channel + j) * STATE + n] = grad_A[n][j];
  store(grad.D + channel, grad_D, block.width);
  store(grad.bias + channel, grad_bias, block.width);
}

}  // namespace

// How much to allocate: float32 numbers for `borders`, and groups of partial sums of B and C.
extern "C" void scan_sizes(const Shape* shape, int64_t* borders, int64_t* groups) {
  *borders = shape->batch * shape->blocks() * shape->chunks() * STATE * LANES;
  *groups = shape->groups();
}

// borders may be null where no backward pass follows.
extern "C" void scan_forward(const Inputs* in, const Shape* shape, float* out, float* borders) {
#pragma omp parallel for collapse(2) schedule(dynamic, 1) \
    num_threads(shape->threads)
  for (int64_t b = 0; b < shape->batch; b++)
    for (int64_t k = 0; k < shape->blocks(); k++) forward_block(*in, *shape, out, borders, b, k);
}

extern "C" void scan_backward(const Inputs* in, const Shape* shape, const float* borders,
                              const float* grad_out, const Gradients* grad) {
#pragma omp parallel num_threads(shape->threads)
  {
    std::vector<Scratch> scratch(1);
#pragma omp for collapse(2) schedule(dynamic, 1)
    for (int64_t b = 0; b < shape->batch; b++)
      for (int64_t group = 0; group < shape->groups(); group++)
        for (int64_t k = group; k < shape->blocks(); k += shape->groups())
          backward_block(*in, *shape, borders, grad_out, *grad, b, k, group, scratch[0]);
  }
}
