// SPDX-License-Identifier: Apache-2.0
/// The weights of a model that are stored as deltas, as JSON, in the order of the model.
public func sharedText(of model: any Model) -> String {
    let native = ((model as? RecoveredModel)?.base ?? model) as? NativeModel
    let tensors = (native?.sharing.tensors ?? [:]).values.sorted {
        ($0.sublayer, $0.projection.parts[0]) < ($1.sublayer, $1.projection.parts[0])
    }
    return JSONValue.object([
        "format": .string("prunecore.sharing"), "version": .integer(1),
        "weights": .array(
            tensors.map { own in
                .object([
                    "name": .string(own.projection.tensor), "base": .string(own.base),
                    "sublayer": .string(sublayerName(own.sublayer)),
                    "base_sublayer": .string(sublayerName(own.baseSublayer)),
                    "projection": .string(own.projection.name), "outputs": .integer(own.projection.outputs),
                    "inputs": .integer(own.projection.inputs), "rank": .integer(own.rank),
                    "scale": .number(Double(own.scale)),
                    "bytes": .integer(own.byteCount), "bytes_whole": .integer(own.wholeBytes),
                    "error": own.error.map { .number($0) } ?? .null,
                ])
            }),
    ]).text
}
