// SPDX-License-Identifier: Apache-2.0
internal import CKernels

extension UnitStatistics {
    /// Adds tokens whose states were compared elsewhere. Returns false, and adds nothing, if a norm is not finite.
    mutating func add(_ comparisons: [StateComparison]) -> Bool {
        var sum = UnitStatistics()
        for own in comparisons {
            let squares = own.beforeSquares + own.afterSquares + own.updateSquares
            guard (squares + own.beforeL1 + own.afterL1 + own.updateL1).isFinite else { return false }
            sum.add(
                before: kernel_norms(squares: own.beforeSquares, absolutes: own.beforeL1),
                after: kernel_norms(squares: own.afterSquares, absolutes: own.afterL1),
                update: kernel_norms(squares: own.updateSquares, absolutes: own.updateL1))
        }
        merge(sum)
        return true
    }
}

extension BlockStatistics {
    /// A block by comparisons that the model makes where its states live; nil if they are better read.
    ///
    /// - Parameter states: before the block and after each sublayer that is applied: one to three.
    /// Errors: `.nonFinite`; those of the model.
    init?(
        comparing states: [any HiddenState], in model: any Model, at rows: [Int],
        keeps: (attention: Bool, feedForward: Bool)
    ) throws(PruneError) {
        self.init(keeps: keeps)
        guard let before = states.first, let after = states.last else { return nil }
        guard states.count > 1 else {
            for unit in [\Self.attention, \.feedForward, \.block] {
                self[keyPath: unit].addUnchanged(tokens: rows.count)
            }
            return
        }
        guard let whole = try model.compare(before, after, at: rows) else { return nil }
        var parts = [whole]
        if states.count == 3 {
            for (before, after) in zip(states, states.dropFirst()) {
                guard let part = try model.compare(before, after, at: rows) else { return nil }
                parts.append(part)
            }
        }
        guard parts.allSatisfy({ $0.count == rows.count }) else {
            throw PruneError(.internal, "the model compared other rows than asked for")
        }
        guard add(compared: parts) else {
            throw PruneError(.nonFinite, "the host's compare gave a norm that is not finite; check its weights")
        }
    }

    /// Adds the comparisons of the block and, where both are applied, of its sublayers.
    private mutating func add(compared parts: [[StateComparison]]) -> Bool {
        guard block.add(parts[0]) else { return false }
        if parts.count == 3 { return attention.add(parts[1]) && feedForward.add(parts[2]) }
        addRemainder()
        return true
    }
}
