// SPDX-License-Identifier: Apache-2.0
/// A model that can write text.
protocol TextModel: Model {
    /// nil if the model's layers are run by its host.
    var textWriter: TextWriter? { get }
}

/// What writes text: our own engine, and the adapters that stand in it.
struct TextWriter {
    let engine: NativeModel
    /// By sublayer: each stands in the place of one that `engineMask` removes.
    let adapters: [Int: Adapter]
    /// The engine's own sublayers that are there.
    let engineMask: KeepMask

    /// nil if the model's layers are run by its host.
    init?(_ model: any Model) {
        guard let writer = (model as? any TextModel)?.textWriter else { return nil }
        self = writer
    }

    init(engine: NativeModel, adapters: [Int: Adapter] = [:], engineMask: KeepMask? = nil) {
        self.engine = engine
        self.adapters = adapters
        self.engineMask = engineMask ?? engine.shape.present
    }

    /// The engine's own sublayers that a mask of the model keeps: adapters have no keys and values.
    func ownSublayers(under mask: KeepMask) -> KeepMask {
        engineMask.removed.reduce(mask) { $0.removing(unit: $1, .sublayer) }
    }

    /// `NativeModel.advance` under a mask of the model.
    func advance(
        _ caches: [KeyValueCache], by tokens: [[Int32]], under mask: KeepMask,
        visit: (_ sublayer: Int?) throws(PruneError) -> Void = { (_) throws(PruneError) in },
        pause: AttentionPause? = nil
    ) throws(PruneError) -> FloatBuffer {
        let empty = engineMask.removed.filter { adapters[$0] == nil }
        let mask = empty.reduce(mask) { $0.removing(unit: $1, .sublayer) }
        return try engine.advance(caches, by: tokens, under: mask, adapters, visit: visit, pause: pause)
    }
}

extension NativeModel: TextModel {
    var textWriter: TextWriter? { TextWriter(engine: self) }
}

extension Model {
    /// Whether `generate` works.
    public var generates: Bool { TextWriter(self) != nil }
}
