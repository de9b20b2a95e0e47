// SPDX-License-Identifier: Apache-2.0
/// The type that matrix products multiply in. Sums are fp32 either way, and so is the residual stream.
public enum ComputeType: String, Sendable, CaseIterable {
    /// Weights and activations widened to fp32: results agree with a fp32 reference to its rounding.
    case float32
    /// Activations rounded to bf16 before each product, as PyTorch does for a bf16 model; about twice as fast.
    case bfloat16

    /// Whether this CPU has instructions for it.
    public var isSupported: Bool { self == .float32 || BFloat16Product.isSupported }

    /// The fastest type that loses nothing of weights stored as `stored`: bf16 for bf16 weights where the CPU has it.
    static func automatic(for stored: ElementType) -> ComputeType {
        stored == .bfloat16 && ComputeType.bfloat16.isSupported ? .bfloat16 : .float32
    }
}
