// SPDX-License-Identifier: Apache-2.0
/// A change of the weights of sublayers that stay, as a mask removes others. A list of edits is applied in order, each to
/// what those before it made, and before a mask removes anything.
///
/// Each kind is a type with a file of its own: what its members mean, how they are read, and how they are written.
public enum Edit: Sendable, Equatable {
    case merge(BlockMerge)
    case narrow(FeedForwardNarrowing)

    /// - Parameter blocks: of the model; block numbers are below it.
    /// Errors: `.format`, naming the edit and its member; `.unsupported` for a kind that this version does not know.
    init(_ object: EditObject, blocks: Int) throws(PruneError) {
        switch try object.text("kind") {
        case BlockMerge.kind: self = .merge(try BlockMerge(object, blocks: blocks))
        case FeedForwardNarrowing.kind: self = .narrow(try FeedForwardNarrowing(object, blocks: blocks))
        case let kind: throw object.fault(.unsupported, "kind", "is \(kind.quoted), which this library does not know")
        }
    }

    /// As JSON, without white space that means nothing.
    var json: JSONValue {
        switch self {
        case .merge(let merge): merge.json
        case .narrow(let narrowing): narrowing.json
        }
    }
}
