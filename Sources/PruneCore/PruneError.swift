// SPDX-License-Identifier: Apache-2.0
/// What a failure is about. The raw values are those of `prune_status` in `prunecore.h`.
public enum FailureKind: Int32, Sendable {
    /// An argument is missing, out of range, or of the wrong length.
    case argument = 1
    /// A handle was released, or is of another kind.
    case handle = 2
    /// Memory could not be allocated.
    case memory = 3
    /// A file is missing or unreadable.
    case file = 4
    /// A file is damaged, or contradicts itself.
    case format = 5
    /// Well-formed, but not something this version computes.
    case unsupported = 6
    /// Token ids that do not fit the model, or too few of them.
    case data = 7
    /// NaN or infinity was met.
    case nonFinite = 8
    /// The progress callback asked to stop.
    case cancelled = 9
    /// The caller's buffer is too small.
    case buffer = 10
    /// A fault of the library itself.
    case `internal` = 11
    /// A callback of the host failed.
    case host = 12
}

/// The one error of the library: what it is about, and a sentence that names the thing at fault and what to do.
public struct PruneError: Error, Sendable {
    public let kind: FailureKind
    public let message: String

    public init(_ kind: FailureKind, _ message: String) {
        self.kind = kind
        self.message = message
    }
}
