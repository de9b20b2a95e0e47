// SPDX-License-Identifier: Apache-2.0
/// Norms of one token's hidden states h before and g after some unit: all that static metrics need of them.
public struct StateComparison: Sendable {
    /// ||h||_1 and ||h||_2^2.
    public var beforeL1, beforeSquares: Double
    /// ||g||_1 and ||g||_2^2.
    public var afterL1, afterSquares: Double
    /// ||g - h||_1 and ||g - h||_2^2: of the difference, since a difference of norms would lose small updates.
    public var updateL1, updateSquares: Double

    public init(
        beforeL1: Double, beforeSquares: Double, afterL1: Double, afterSquares: Double, updateL1: Double,
        updateSquares: Double
    ) {
        (self.beforeL1, self.beforeSquares) = (beforeL1, beforeSquares)
        (self.afterL1, self.afterSquares) = (afterL1, afterSquares)
        (self.updateL1, self.updateSquares) = (updateL1, updateSquares)
    }
}
