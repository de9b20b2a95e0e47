// SPDX-License-Identifier: Apache-2.0
import CKernels
import Testing

@testable import PruneCore

/// The level of the loops that the environment chooses.
@Suite struct LoopLevelTests {
    @Test(arguments: [("baseline", 0), ("avx2", 1), ("avx512", 2)] as [(String, Int32)])
    func aLevelThatTheCPUHasIsTaken(_ name: String, _ level: Int32) throws {
        #expect(try Kernels.level(named: name, best: 2) == level)
        #expect(try Kernels.level(named: name, best: level) == level)
    }

    @Test(arguments: [nil, ""] as [String?], [0, 1, 2] as [Int32])
    func unsetMeansTheBestLevel(_ unset: String?, _ best: Int32) throws {
        #expect(try Kernels.level(named: unset, best: best) == best)
    }

    @Test(arguments: ["AVX2", " avx2", "sse", "1"])
    func unknownLevelsAreRefused(_ name: String) {
        expectFault(.argument, naming: "PRUNECORE_LOOPS", name, "baseline, avx2 or avx512") {
            _ = try Kernels.level(named: name, best: 2)
        }
    }

    @Test func levelsAboveTheCPUAreRefused() {
        expectFault(.unsupported, naming: "PRUNECORE_LOOPS is avx512", "avx2") {
            _ = try Kernels.level(named: "avx512", best: 1)
        }
        expectFault(.unsupported, naming: "PRUNECORE_LOOPS is avx2", "baseline") {
            _ = try Kernels.level(named: "avx2", best: 0)
        }
    }

    @Test func theLevelInUseIsOneThatTheCPUHas() {
        #expect((0...kernel_best_level()).contains(Kernels.level))
        #expect(Kernels.level == kernel_best_level() || Runtime.loopKernels != "avx512")
    }
}
