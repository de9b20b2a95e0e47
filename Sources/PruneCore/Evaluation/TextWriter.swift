// SPDX-License-Identifier: Apache-2.0
/// What writes text: our own engine, and the adapters that stand in it.
struct TextWriter {
    let engine: NativeModel
    let adapters: AdapterSet?

    /// nil if the model's layers are run by its host.
    init?(_ model: any Model) {
        if let engine = model as? NativeModel {
            (self.engine, adapters) = (engine, nil)
        } else if let recovered = model as? RecoveredModel, let engine = recovered.base as? NativeModel {
            (self.engine, adapters) = (engine, recovered.adapters)
        } else {
            return nil
        }
    }

    /// The engine's own sublayers that a mask of the model keeps: adapters have no keys and values.
    func ownSublayers(under mask: KeepMask) -> KeepMask {
        (adapters?.mask.removed ?? []).reduce(mask) { $0.removing(unit: $1, .sublayer) }
    }
}

extension Model {
    /// Whether `generate` works.
    public var generates: Bool { TextWriter(self) != nil }
}
