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

extension AdapterSet {
    /// The same adapters and what they emulate, of another mask, which removes no less.
    func under(mask: KeepMask) -> AdapterSet {
        AdapterSet(
            mask: mask, adapters: adapters, weightSample: weightSample, hiddenSize: hiddenSize, report: report)
    }

    /// Those that a mask keeps, of a model with these adapters, and the sublayers underneath that it keeps.
    func kept(by mask: KeepMask) -> AdapterSet {
        var set = under(mask: self.mask.removing(units: mask.removed, .sublayer))
        set.adapters = adapters.filter { mask.keeps($0.key) }
        return set
    }

    /// These and `later`, which were made for a model that has these: earlier ones stay where the later mask keeps them.
    func replaced(by later: AdapterSet) -> AdapterSet {
        let rest = kept(by: later.mask)
        return AdapterSet(
            mask: rest.mask, adapters: rest.adapters.merging(later.adapters) { $1 }, weightSample: later.weightSample,
            hiddenSize: hiddenSize, report: later.report)
    }
}
