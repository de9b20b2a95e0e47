// SPDX-License-Identifier: Apache-2.0
/// Adapters for removed sublayers of one model, and the mask that removes them.
public struct AdapterSet: Sendable {
    /// The mask they were made for. Every adapter stands at a sublayer that it removes.
    public let mask: KeepMask
    /// By sublayer.
    public internal(set) var adapters: [Int: Adapter]
    /// `weightSample` of the model they were made for; empty if it gave none.
    public let weightSample: [Float]
    public let hiddenSize: Int
    /// How they came about; as JSON in what is saved.
    public internal(set) var report: RecoveryReport

    public init(
        mask: KeepMask, adapters: [Int: Adapter], weightSample: [Float], hiddenSize: Int,
        report: RecoveryReport = RecoveryReport()
    ) {
        self.mask = mask
        self.adapters = adapters
        self.weightSample = weightSample
        self.hiddenSize = hiddenSize
        self.report = report
    }

    /// Sublayers that have an adapter, ascending.
    public var sublayers: [Int] { adapters.keys.sorted() }

    public var parameterCount: Int { adapters.values.reduce(0) { $0 + $1.parameters.count } }
}
