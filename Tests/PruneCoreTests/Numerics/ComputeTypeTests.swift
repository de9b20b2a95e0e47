// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite("Compute types")
struct ComputeTypeTests {
    private func error(_ body: () throws(PruneError) -> ComputeType) -> PruneError? {
        do throws(PruneError) {
            _ = try body()
            return nil
        } catch {
            return error
        }
    }

    @Test("bf16 is chosen for weights stored in bf16, and only where the CPU has it")
    func automatic() throws {
        let fast: ComputeType = ComputeType.bfloat16.isSupported ? .bfloat16 : .float32
        for unset in [nil, ""] as [String?] {
            #expect(try ComputeType.preferred(unset, for: .bfloat16) == fast)
            #expect(try ComputeType.preferred(unset, for: .float32) == .float32)
            #expect(try ComputeType.preferred(unset, for: .float16) == .float32)
        }
        #expect(ComputeType.float32.isSupported)
        #expect(Runtime.bf16Kernels.isEmpty == !ComputeType.bfloat16.isSupported)
        #expect(Runtime.cpuFeatures.contains("avx512_bf16") || Runtime.bf16Kernels.isEmpty)
    }

    @Test("the environment's type is taken; one that is unknown, or not to be had, is refused by name")
    func environment() throws {
        #expect(try ComputeType.preferred("float32", for: .bfloat16) == .float32)
        for wrong in ["bf16", "Float32", " float32", "2"] {
            let found = error { () throws(PruneError) in try .preferred(wrong, for: .bfloat16) }
            #expect(found?.kind == .argument)
            #expect(found?.message.contains("PRUNECORE_COMPUTE") == true && found?.message.contains(wrong) == true)
        }
        if ComputeType.bfloat16.isSupported {
            #expect(try ComputeType.preferred("bfloat16", for: .float32) == .bfloat16)
        } else {
            let found = error { () throws(PruneError) in try .preferred("bfloat16", for: .bfloat16) }
            #expect(found?.kind == .unsupported && found?.message.contains("PRUNECORE_COMPUTE") == true)
        }
    }

    @Test("a model computes in the type that its opener names")
    func named() throws {
        #expect(try NativeModel(directory: talesDirectory, compute: .float32).compute == .float32)
        if ComputeType.bfloat16.isSupported {
            #expect(try NativeModel(directory: talesDirectory, compute: .bfloat16).compute == .bfloat16)
        } else {
            let found = error { () throws(PruneError) in
                try NativeModel(directory: talesDirectory, compute: .bfloat16).compute
            }
            #expect(found?.kind == .unsupported)
        }
    }
}
