// SPDX-License-Identifier: Apache-2.0
import CKernels
import Dispatch
import Foundation
import Synchronization
import Testing

@testable import PruneCore

private func bfloat16(_ value: Float) -> UInt16 { UInt16(roundedBits(value) >> 16) }

/// The bits of the nearest bf16, ties to even, as an fp32.
private func roundedBits(_ value: Float) -> UInt32 {
    let bits = value.bitPattern
    return (bits + 0x7fff + (bits >> 16) & 1) & 0xffff_0000
}

private func rounded(_ value: Float) -> Float { Float(bitPattern: roundedBits(value)) }

/// The loops that round to bf16 and read it, at every CPU level of this machine.
@Suite struct BFloat16LoopTests {
    static let levels = Array(0...kernel_best_level())
    static let lengths = [1, 15, 16, 33, 100, 1031]

    func values(_ count: Int, seed: UInt64) -> [Float] {
        var random = RandomSource(seed: seed, stream: 0)
        return (0..<count).map { _ in Float(random.unit() * 4 - 2) }
    }

    @Test(arguments: levels, lengths)
    func roundsToNearest(_ level: Int32, _ count: Int) {
        let x = values(count, seed: 1)
        let weights = values(count, seed: 2)
        var out = [UInt16](repeating: 0, count: count)
        kernel_round_bf16(level, x, 0.5, &out, count)
        #expect(out == x.map { bfloat16($0 * 0.5) })
        kernel_scale_by_bf16(level, x, 3, weights, &out, count)
        #expect(out == zip(x, weights).map { bfloat16($0 * 3 * $1) })
    }

    @Test(arguments: levels)
    func specialValuesStayWhatTheyAre(_ level: Int32) {
        let x: [Float] = [.infinity, -.infinity, .nan, -.nan, 0, -0.0, 3.4e38, Float(bitPattern: 0x3f80_8000)]
        var out = [UInt16](repeating: 0, count: x.count)
        kernel_round_bf16(level, x, 1, &out, x.count)
        let back = out.map { Float(bitPattern: UInt32($0) << 16) }
        #expect(back[0] == .infinity && back[1] == -.infinity && back[2].isNaN && back[3].isNaN)
        #expect(back[4].sign == .plus && back[5].sign == .minus && back[6] == .infinity)
        #expect(back[7] == 1, "a tie goes to the even one")
    }

    @Test(arguments: levels, lengths)
    func rowsOfStoredWeightsTimesAVector(_ level: Int32, _ count: Int) {
        let rows = 4
        let stride = count + 3
        let x = values(rows * stride, seed: 3)
        let w = values(count, seed: 4)
        func expect(_ type: Int32, _ memory: UnsafeRawBufferPointer, _ stored: [Float]) {
            var alone = [Float](repeating: 0, count: rows)
            for row in 0..<rows {
                x.withUnsafeBufferPointer {
                    kernel_dot_rows(
                        level, type, memory.baseAddress, 1, count, $0.baseAddress! + row * stride, stride, 1, count,
                        &alone[row], 1)
                }
                let own = x[row * stride..<row * stride + count]
                let exact = zip(own, stored).reduce(0) { $0 + Double($1.0) * Double($1.1) }
                let size = zip(own, stored).reduce(0) { $0 + abs(Double($1.0) * Double($1.1)) }
                #expect(abs(Double(alone[row]) - exact) <= 1e-6 * size)
            }
            for some in 2...rows {
                var together = [Float](repeating: 7, count: rows * 2)
                kernel_dot_rows(level, type, memory.baseAddress, 1, count, x, stride, some, count, &together, 2)
                for row in 0..<rows { #expect(together[2 * row] == (row < some ? alone[row] : 7)) }
            }
        }
        w.withUnsafeBytes { expect(Int32(STORED_FP32), $0, w) }
        w.map(bfloat16).withUnsafeBytes { expect(Int32(STORED_BF16), $0, w.map(rounded)) }
        #if !(os(macOS) && arch(x86_64))
            let halves = w.map { Float16($0) }
            halves.map(\.bitPattern).withUnsafeBytes { expect(Int32(STORED_FP16), $0, halves.map { Float($0) }) }
        #endif
    }

    @Test(arguments: levels, [1, 7, 16, 32])
    func gatesMeetTheirUps(_ level: Int32, _ columns: Int) {
        let rows = 5
        let half = 32
        let stride = 40
        let tile = values(rows * 2 * half, seed: 5)
        var out = [UInt16](repeating: 7, count: rows * stride)
        kernel_silu_gate_bf16(level, tile, rows, half, columns, &out, stride)
        for row in 0..<rows {
            for column in 0..<stride {
                let found = Float(bitPattern: UInt32(out[row * stride + column]) << 16)
                guard column < columns else {
                    #expect(out[row * stride + column] == 7)
                    continue
                }
                let gate = Double(tile[row * 2 * half + column])
                let up = Double(tile[row * 2 * half + half + column])
                let exact = up * gate / (1 + exp(-gate))
                #expect(abs(Double(found) - exact) <= abs(exact) / 250 + 1e-30)
            }
        }
    }

    @Test(arguments: levels, lengths)
    func exponentialsAndTheirSum(_ level: Int32, _ count: Int) {
        let x = values(count, seed: 6)
        let top = Double(x.max() ?? 0)
        var out = [UInt16](repeating: 0, count: count)
        let sum = kernel_exponentials_bf16(level, x, 2, &out, count)
        let exact = x.map { exp(2 * (Double($0) - top)) }
        #expect(abs(Double(sum) - exact.reduce(0, +)) <= 2e-6 * exact.reduce(0, +))
        for (bits, e) in zip(out, exact) { #expect(abs(Double(Float(bitPattern: UInt32(bits) << 16)) - e) <= e / 250) }
    }
}

/// Products in bf16 against plain arithmetic, where the CPU has them.
@Suite(.enabled(if: BFloat16Product.isSupported, "this CPU has no bf16 instructions"))
struct BFloat16ProductTests {
    let scratch = BufferPool()

    func values(_ count: Int, seed: UInt64) -> [Float] {
        var random = RandomSource(seed: seed, stream: 0)
        return (0..<count).map { _ in Float(random.unit() * 2 - 1) }
    }

    /// A matrix stored in some type, and the values that the product sees.
    func stored(_ type: ElementType, rows: Int, columns: Int, seed: UInt64) -> (StoredMatrix, [Float], Bytes) {
        let exact = values(rows * columns, seed: seed).map(rounded).map { type == .float16 && abs($0) < 1e-4 ? 0 : $0 }
        let bytes: [UInt8]
        switch type {
        case .float32: bytes = exact.flatMap { withUnsafeBytes(of: $0, Array.init) }
        case .bfloat16: bytes = exact.flatMap { withUnsafeBytes(of: bfloat16($0), Array.init) }
        case .float16: bytes = exact.flatMap { withUnsafeBytes(of: halfBits($0), Array.init) }
        default:
            let (matrix, values, owner) = quantisedMatrix(type, rows: rows, columns: columns, seed: seed)
            return (matrix, values, owner)
        }
        // One byte off any boundary, as a file may have it.
        let owner = Bytes([0] + bytes)
        let view = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(owner.memory)[1...])
        let tensor = StoredTensor(name: "w", elementType: type, shape: [rows, columns], bytes: view, owner: owner)
        return (StoredMatrix(tensor, rows: rows, columns: columns), exact, owner)
    }

    /// fp16 of a bf16 value of moderate size, or 0, by its fields.
    func halfBits(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        let exponent = Int((bits >> 23) & 0xff) - 127 + 15
        guard exponent > 0 else { return 0 }
        return UInt16((bits >> 16) & 0x8000) | UInt16(exponent << 10) | UInt16((bits >> 13) & 0x3ff)
    }

    final class Bytes {
        let memory: UnsafeMutableRawBufferPointer

        init(_ bytes: [UInt8]) {
            memory = .allocate(byteCount: bytes.count, alignment: 64)
            memory.copyBytes(from: bytes)
        }

        deinit { memory.deallocate() }
    }

    @Test(
        arguments: [ElementType.bfloat16, .float16, .float32],
        [(1, 1, 1), (5, 64, 32), (7, 65, 33), (13, 200, 70), (200, 17, 96), (400, 130, 31)])
    func aProductAgreesWithPlainArithmetic(_ type: ElementType, _ shape: (rows: Int, outputs: Int, inputs: Int)) throws
    {
        let (rows, outputs, inputs) = shape
        let x = values(rows * inputs, seed: 11).map(rounded)
        let (weight, exact, owner) = stored(type, rows: outputs, columns: inputs, seed: 12)
        let start = values(rows * outputs, seed: 13)
        let bias = try scratch.buffer(outputs)
        for column in 0..<outputs { bias.pointer[column] = Float(column % 8) }
        var found = [Float](repeating: .nan, count: rows * outputs)
        try withExtendedLifetime(owner) {
            try x.withUnsafeBufferPointer { x in
                try start.withUnsafeBufferPointer { start in
                    try found.withUnsafeMutableBufferPointer { found in
                        let a = try BFloat16Rows(rounding: x.baseAddress!, rows: rows, columns: inputs, scratch)
                        let middle = rows / 3
                        let runs = [0..<middle, middle..<rows].map { run in
                            BFloat16Product.Run(
                                rows: run, start: start.baseAddress! + run.lowerBound * outputs,
                                out: found.baseAddress! + run.lowerBound * outputs, stride: outputs)
                        }
                        let target = BFloat16Product.Target(weight: weight, bias: bias, runs: runs)
                        try BFloat16Product.apply(a, to: [target], scratch: scratch)
                    }
                }
            }
        }
        var worst = 0.0
        for row in 0..<rows {
            for column in 0..<outputs {
                var sum = Double(start[row * outputs + column]) + Double(column % 8)
                for k in 0..<inputs { sum += Double(x[row * inputs + k]) * Double(exact[column * inputs + k]) }
                worst = max(worst, abs(Double(found[row * outputs + column]) - sum))
            }
        }
        #expect(worst <= 2e-5)
    }

    @Test func aRowDoesNotDependOnTheOthers() throws {
        let (rows, outputs, inputs) = (211, 96, 64)
        let x = values(rows * inputs, seed: 21)
        let (weight, _, owner) = stored(.bfloat16, rows: outputs, columns: inputs, seed: 22)
        func product(_ some: Range<Int>) throws -> [Float] {
            let out = try scratch.buffer(some.count * outputs)
            try x.withUnsafeBufferPointer { x in
                let a = try BFloat16Rows(
                    rounding: x.baseAddress! + some.lowerBound * inputs, rows: some.count, columns: inputs, scratch)
                let run = BFloat16Product.Run(rows: 0..<some.count, out: out.pointer, stride: outputs)
                try BFloat16Product.apply(
                    a, to: [BFloat16Product.Target(weight: weight, runs: [run])], scratch: scratch)
            }
            return Array(UnsafeBufferPointer(start: out.pointer, count: out.count))
        }
        try withExtendedLifetime(owner) {
            let whole = try product(0..<rows)
            for some in [0..<1, 5..<8, 100..<206, 210..<211] {
                #expect(try product(some) == Array(whole[some.lowerBound * outputs..<some.upperBound * outputs]))
            }
        }
    }

    @Test func aModelComputesNearlyTheSame() throws {
        let exact = try NativeModel(directory: talesDirectory, compute: .float32)
        let rounded = try NativeModel(directory: talesDirectory, compute: .bfloat16)
        var random = RandomSource(seed: 31, stream: 0)
        let tokens = (0..<600).map { _ in Int32(random.unit() * 2000) }
        let data = try TokenData(tokens: tokens, lengths: [1, 2, 47, 48, 49, 153, 300], weights: nil)
        let keep = try KeepMask(bytes: (0..<24).map { $0 % 5 != 3 ? 1 : 0 })
        for mask in [KeepMask(blocks: 12), keep] {
            let (a, b) = (try evaluate(exact, data, mask), try evaluate(rounded, data, mask))
            #expect(a != b)
            #expect(abs(a - b) <= 1e-3 * a)
        }
    }

    @Test func masksTogetherGiveWhatTheyGiveAlone() throws {
        for compute in ComputeType.allCases {
            let model = try NativeModel(directory: talesDirectory, compute: compute)
            let tokens = (0..<120).map { Int32($0 * 7 % 2000) }
            let data = try TokenData(tokens: tokens, lengths: [50, 3, 67], weights: nil)
            let masks = try (0..<4).map { first in try KeepMask(bytes: (0..<24).map { ($0 + first) % 6 != 0 ? 1 : 0 }) }
            let together = try evaluations(model, data, masks)
            for (mask, value) in zip(masks, together) { #expect(try evaluate(model, data, mask) == value) }
        }
    }

    @Test func productsDoNotDependOnTheNumberOfThreads() throws {
        defer { ThreadPool.threads = 0 }
        for compute in ComputeType.allCases {
            let model = try NativeModel(directory: talesDirectory, compute: compute)
            let tokens = (0..<150).map { Int32($0 * 11 % 2000) }
            let data = try TokenData(tokens: tokens, lengths: [100, 3, 47], weights: nil)
            let mask = KeepMask(blocks: 12)
            var values: [Double] = []
            for threads in [1, 2, 5] {
                ThreadPool.threads = threads
                values.append(try evaluate(model, data, mask))
            }
            #expect(Set(values).count == 1)
        }
    }

    @Test func theNumberOfThreadsMayChangeMeanwhile() throws {
        let model = try NativeModel(directory: talesDirectory, compute: .bfloat16)
        let data = try TokenData(tokens: (0..<200).map { Int32($0 * 13 % 2000) }, lengths: [200], weights: nil)
        let mask = KeepMask(blocks: 12)
        let expected = try evaluate(model, data, mask)
        let done = Atomic(false)
        defer { ThreadPool.threads = 0 }
        DispatchQueue.concurrentPerform(iterations: 2) { worker in
            if worker == 0 {
                for _ in 0..<6 { #expect((try? evaluate(model, data, mask)) == expected) }
                done.store(true, ordering: .relaxed)
            } else {
                var threads = 0
                while !done.load(ordering: .relaxed) {
                    threads = threads % 7 + 1
                    ThreadPool.threads = threads
                }
            }
        }
    }

    private func evaluate(_ model: NativeModel, _ data: TokenData, _ mask: KeepMask) throws -> Double {
        try evaluations(model, data, [mask])[0]
    }

    private func evaluations(_ model: NativeModel, _ data: TokenData, _ masks: [KeepMask]) throws -> [Double] {
        let measured = try Measurement(
            model, data, under: masks, [.loss], WalkOptions(), stage: "test", progress: nil)
        return measured.means.map { $0[0].sum / $0[0].weight }
    }
}
