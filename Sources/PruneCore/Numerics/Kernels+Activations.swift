// SPDX-License-Identifier: Apache-2.0
internal import CKernels

/// The loops of feed-forward sublayers.
extension Kernels {
    /// up[i] *= activation(gate[i]); of `.clamped` up is clamped, too.
    static func multiply(
        _ up: UnsafeMutablePointer<Float>, by activation: Activation, of gate: UnsafePointer<Float>, _ count: Int
    ) {
        switch activation {
        case .silu: kernel_silu_times(level, gate, up, count)
        case .geluTanh: kernel_gelu_tanh_times(level, gate, up, count)
        case .gelu: kernel_gelu_times(level, gate, up, count)
        case .relu: kernel_relu_times(level, gate, up, count)
        case .reluSquared: kernel_relu_squared_times(level, gate, up, count)
        case .clamped(let limit, let slope): kernel_clamped_times(level, gate, up, limit, slope, count)
        }
    }

    /// From the gradient d of what `multiply` gives: puts those with respect to gate and up in their place.
    static func pullback(
        _ d: UnsafePointer<Float>, through activation: Activation, gate: UnsafeMutablePointer<Float>,
        up: UnsafeMutablePointer<Float>, _ count: Int
    ) {
        switch activation {
        case .silu: kernel_silu_pullback(level, d, gate, up, count)
        case .geluTanh: kernel_gelu_tanh_pullback(level, d, gate, up, count)
        case .gelu: kernel_gelu_pullback(level, d, gate, up, count)
        case .relu: kernel_relu_pullback(level, d, gate, up, count)
        case .reluSquared: kernel_relu_squared_pullback(level, d, gate, up, count)
        case .clamped(let limit, let slope): kernel_clamped_pullback(level, d, gate, up, limit, slope, count)
        }
    }

    /// out[i] = bf16(up[i] * activation(gate[i])) for each row of a tile, which holds `half` gates and then `half` ups, of
    /// which the first `columns` count; rows of `out` are `stride` apart. Uses the tile up.
    static func gate(
        _ tile: UnsafeMutablePointer<Float>, rows: Int, half: Int, columns: Int, by activation: Activation,
        into out: UnsafeMutablePointer<UInt16>, stride: Int
    ) {
        if activation == .silu { return kernel_silu_gate_bf16(level, tile, rows, half, columns, out, stride) }
        for row in 0..<rows {
            let gates = tile + row * 2 * half
            multiply(gates + half, by: activation, of: gates, columns)
            round(gates + half, into: out + row * stride, columns)
        }
    }
}
