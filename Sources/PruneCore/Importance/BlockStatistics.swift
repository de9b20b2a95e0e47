// SPDX-License-Identifier: Apache-2.0
internal import CKernels

/// The static metrics of a block and of its two sublayers, from one reading of the hidden states.
///
/// What they cost is the reading: three states of a batch are larger than the caches. So the three units, which share
/// them, are added up together.
struct BlockStatistics: Sendable {
    private let keeps: (attention: Bool, feedForward: Bool)
    var attention = UnitStatistics()
    var feedForward = UnitStatistics()
    var block = UnitStatistics()

    /// - Parameter keeps: which sublayers are applied. One that is not leaves its tokens as they are.
    init(keeps: (attention: Bool, feedForward: Bool)) { self.keeps = keeps }

    /// Adds one token.
    ///
    /// - Parameters:
    ///   - states: the hidden states before the block and after each sublayer that is applied: one to three.
    ///   - offset: where the token's `width` values begin, the same in each.
    /// Returns false, and adds nothing, if one of the values is not finite.
    mutating func add(_ states: [UnsafePointer<Float>], at offset: Int, width: Int) -> Bool {
        switch states.count {
        case 3: return addBoth(states[0] + offset, states[1] + offset, states[2] + offset, width)
        case 2: return addOne(states[0] + offset, states[1] + offset, width)
        default:
            for unit in [\Self.attention, \.feedForward, \.block] { self[keyPath: unit].addUnchanged(tokens: 1) }
            return true
        }
    }

    private mutating func addBoth(
        _ h: UnsafePointer<Float>, _ m: UnsafePointer<Float>, _ g: UnsafePointer<Float>, _ width: Int
    ) -> Bool {
        let norms = kernel_block(Kernels.level, h, m, g, width)
        guard (norms.before.squares + norms.middle.squares + norms.after.squares).isFinite else { return false }
        attention.add(before: norms.before, after: norms.middle, update: norms.attention)
        feedForward.add(before: norms.middle, after: norms.after, update: norms.feed_forward)
        block.add(before: norms.before, after: norms.after, update: norms.update)
        return true
    }

    private mutating func addOne(_ h: UnsafePointer<Float>, _ g: UnsafePointer<Float>, _ width: Int) -> Bool {
        guard block.add(h, g, width: width) else { return false }
        addRemainder()
        return true
    }

    /// With one sublayer removed, the other is all of the block.
    mutating func addRemainder() {
        (attention, feedForward) = (UnitStatistics(), UnitStatistics())
        if keeps.attention {
            attention = block
            feedForward.addUnchanged(tokens: block.tokens)
        } else {
            feedForward = block
            attention.addUnchanged(tokens: block.tokens)
        }
    }
}
