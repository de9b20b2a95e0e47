// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import PruneCore

@Suite(.serialized) struct ThreadPoolTests {
    @Test(arguments: [0, 1, 2, 3, 17, 1000])
    func aParallelLoopVisitsEveryIndexOnce(_ count: Int) {
        let hits = UnsafeMutableBufferPointer<Int>.allocate(capacity: max(count, 1))
        hits.initialize(repeating: 0)
        defer { hits.deallocate() }
        nonisolated(unsafe) let counts = hits
        for _ in 0..<50 { ThreadPool.forEach(count, slots: 4) { index, _ in counts[index] += 1 } }
        #expect((0..<count).allSatisfy { hits[$0] == 50 })
    }

    @Test func threadsNeverShareASlot() {
        let busy = UnsafeMutableBufferPointer<Int>.allocate(capacity: 4)
        busy.initialize(repeating: 0)
        defer { busy.deallocate() }
        nonisolated(unsafe) let owners = busy
        nonisolated(unsafe) var clashes = 0
        ThreadPool.forEach(2000, slots: 4) { index, slot in
            owners[slot] = index
            for _ in 0..<100 where owners[slot] != index { clashes += 1 }
        }
        #expect(clashes == 0)
    }

    @Test func loopsInsideLoopsRunInline() {
        let sums = mapOnAllThreads(Array(0..<20)) { outer -> Int? in
            mapOnAllThreads(Array(0..<20)) { outer * $0 }?.reduce(0, +)
        }
        #expect(sums == (0..<20).map { $0 * 190 })
    }
}
