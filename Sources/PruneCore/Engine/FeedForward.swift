// SPDX-License-Identifier: Apache-2.0
/// What a feed-forward has inside before its activation: gates and the ups that they meet, rows x inner size each. Without
/// gates in the model, the only values are the gates, and all ups are 1.
struct InnerParts {
    let gate, up: FloatBuffer

    /// up = up * activation(gate), which is what the last product takes.
    func activate(by activation: Activation) {
        forEachStretch { start, count in
            Kernels.multiply(up.pointer + start, by: activation, of: gate.pointer + start, count)
        }
    }

    /// Puts the gradients of gates and ups in their place, from that of `activate`'s result.
    func pullback(_ d: FloatBuffer, through activation: Activation) {
        forEachStretch { start, count in
            Kernels.pullback(
                d.pointer + start, through: activation, gate: gate.pointer + start, up: up.pointer + start, count)
        }
    }

    private func forEachStretch(_ body: @escaping (_ start: Int, _ count: Int) -> Void) {
        let stretch = 1 << 12
        let count = up.count
        ThreadPool.forEach((count + stretch - 1) / stretch) { piece, _ in
            body(piece * stretch, min(stretch, count - piece * stretch))
        }
    }
}

extension NativeModel {
    /// Gates and ups of some rows.
    func innerParts<P: Products>(
        _ layer: FeedForwardWeights, of x: P.Rows, runs: [Int], _ products: P
    ) throws(PruneError) -> InnerParts {
        let projected = try products.project(layer.inputProjections, of: x, runs: runs)
        switch layer.inputs {
        case .gated: return InnerParts(gate: projected[0], up: projected[1])
        case .plain:
            let ones = try scratch.buffer(projected[0].count)
            ones.pointer.update(repeating: 1, count: ones.count)
            return InnerParts(gate: projected[0], up: ones)
        case .alternating:
            let count = projected[0].count / 2
            let parts = InnerParts(gate: try scratch.buffer(count), up: try scratch.buffer(count))
            for index in 0..<count {
                parts.gate.pointer[index] = projected[0].pointer[2 * index]
                parts.up.pointer[index] = projected[0].pointer[2 * index + 1]
            }
            return parts
        }
    }

    /// Parts, or gradients of them, as the first projections give them: one buffer for each.
    func joined(_ parts: InnerParts, _ layer: FeedForwardWeights) throws(PruneError) -> [FloatBuffer] {
        switch layer.inputs {
        case .gated: return [parts.gate, parts.up]
        case .plain: return [parts.gate]
        case .alternating:
            let joined = try scratch.buffer(2 * parts.gate.count)
            for index in 0..<parts.gate.count {
                joined.pointer[2 * index] = parts.gate.pointer[index]
                joined.pointer[2 * index + 1] = parts.up.pointer[index]
            }
            return [joined]
        }
    }
}
