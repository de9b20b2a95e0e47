// SPDX-License-Identifier: Apache-2.0
import CKernels

@testable import PruneCore

extension ElementType {
    static let quantised = allCases.filter(\.isQuantised)

    /// Where the scales of a block lie, all fp16, and the largest product of a code and the scales that are no fp16.
    fileprivate var scales: (offsets: [Int], largestCode: Float) {
        switch self {
        case .q8_0: ([0], 128)
        case .q4_0: ([0], 8)
        case .q4_1: ([0, 2], 15)
        case .q5_0: ([0], 16)
        case .q5_1: ([0, 2], 31)
        case .q2K: ([80, 82], 45)
        case .q3K: ([108], 128)
        case .q4K: ([0, 2], 945)
        case .q5K: ([0, 2], 1953)
        case .q6K: ([208], 4096)
        case .iq4NL: ([0], 127)
        case .iq4XS: ([0], 4064)
        default: ([], 0)
        }
    }
}

/// A matrix of random blocks with values of at most about 1, and those values: as the kernels widen them, whose bits
/// `Tests/Python/native/test_quantised_kernels.py` compares with those of the package gguf.
func quantisedMatrix(
    _ type: ElementType, rows: Int, columns: Int, seed: UInt64
) -> (matrix: StoredMatrix, values: [Float], owner: BFloat16ProductTests.Bytes) {
    var random = RandomSource(seed: seed, stream: 1)
    var bytes = (0..<type.bytes(of: rows * columns)).map { _ in UInt8(random.unit() * 256) }
    for block in stride(from: 0, to: bytes.count, by: type.blockBytes) {
        for offset in type.scales.offsets {
            let scale = Float(random.unit() - 0.5) / type.scales.largestCode
            let half = BFloat16ProductTests().halfBits(scale)
            (bytes[block + offset], bytes[block + offset + 1]) = (UInt8(half & 0xff), UInt8(half >> 8))
        }
        if type == .mxfp4 { bytes[block] = 120 + bytes[block] % 5 }
        if type == .q8K {
            for (index, byte) in withUnsafeBytes(of: Float(random.unit() - 0.5) / 128, Array.init).enumerated() {
                bytes[block + index] = byte
            }
        }
    }
    // One byte off any boundary, as a file may have it.
    let owner = BFloat16ProductTests.Bytes([0] + bytes)
    let view = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(owner.memory)[1...])
    var values = [Float](repeating: .nan, count: rows * columns)
    kernel_widen_quantised(Int32(KERNEL_LEVEL_BASELINE), type.kernelType, view.baseAddress, 0, values.count, &values)
    let tensor = StoredTensor(name: "w", elementType: type, shape: [rows, columns], bytes: view, owner: owner)
    return (StoredMatrix(tensor, rows: rows, columns: columns), values, owner)
}
