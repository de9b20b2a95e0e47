// SPDX-License-Identifier: Apache-2.0
/// What a host hands out for one of its hidden states: a number that is never followed.
public typealias HostHandle = UnsafeMutableRawPointer

/// The calls that a host may offer.
public struct HostOffers: OptionSet, Sendable {
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let embed = HostOffers(rawValue: 1 << 0)
    public static let apply = HostOffers(rawValue: 1 << 1)
    public static let release = HostOffers(rawValue: 1 << 2)
    public static let tokenLosses = HostOffers(rawValue: 1 << 3)
    public static let logits = HostOffers(rawValue: 1 << 4)
    public static let distances = HostOffers(rawValue: 1 << 5)
    public static let compare = HostOffers(rawValue: 1 << 6)
    public static let read = HostOffers(rawValue: 1 << 7)
    public static let write = HostOffers(rawValue: 1 << 8)
    public static let norm = HostOffers(rawValue: 1 << 9)
    public static let applyAdapter = HostOffers(rawValue: 1 << 10)
    public static let vjp = HostOffers(rawValue: 1 << 11)
    public static let headVJP = HostOffers(rawValue: 1 << 12)
    public static let evaluate = HostOffers(rawValue: 1 << 13)
    public static let layerNorm = HostOffers(rawValue: 1 << 14)

    /// What running sublayer by sublayer takes.
    public static let walk: HostOffers = [.embed, .apply, .release]
}

/// The calls of a host. Only those that it offers are made; the contract of each is that of its namesake in `prune_host`
/// of `prunecore.h`.
///
/// Each throws what the host answered, `.host` or a kind of its own choice, in a sentence that names the call. Rows are
/// those of the state's batch. Pointers are lent until the call returns.
public protocol HostCallbacks: Sendable {
    var offers: HostOffers { get }

    /// The state of a batch before sublayer 0.
    func embed(_ batch: TokenBatch) throws(PruneError) -> HostHandle
    /// States after a sublayer, each from the one before it; as many.
    func apply(_ sublayer: Int, to states: [HostHandle]) throws(PruneError) -> [HostHandle]
    func release(_ state: HostHandle)
    /// -log p of each token after the row beside it, nats.
    func tokenLosses(_ state: HostHandle, at rows: [Int], of tokens: [Int32]) throws(PruneError) -> [Float]
    /// Into room for rows x vocabulary values.
    func logits(_ state: HostHandle, at rows: Range<Int>, into out: UnsafeMutablePointer<Float>) throws(PruneError)
    func distances(
        _ state: HostHandle, to reference: HostHandle, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float]
    func compare(_ before: HostHandle, _ after: HostHandle, at rows: [Int]) throws(PruneError) -> [StateComparison]
    /// Into room for rows x hiddenSize values.
    func read(_ state: HostHandle, into out: UnsafeMutablePointer<Float>) throws(PruneError)
    func write(like state: HostHandle, _ values: UnsafePointer<Float>) throws(PruneError) -> HostHandle
    /// nil for a sublayer that has no such norm.
    func norm(ofSublayer sublayer: Int, hiddenSize: Int) throws(PruneError) -> InputNorm?
    func apply(_ adapter: Adapter, inPlaceOf sublayer: Int, to state: HostHandle) throws(PruneError) -> HostHandle
    func vjp(
        _ sublayer: Int, at states: [HostHandle], of gradients: [HostHandle]
    ) throws(PruneError) -> [HostHandle]
    func headVJP(
        _ state: HostHandle, _ objective: HostObjective, at rows: [Int], weights: [Float]
    ) throws(PruneError) -> (losses: [Float], gradient: HostHandle)
    /// The mean loss of all of a data set under each mask.
    func evaluate(_ data: TokenData, under masks: [KeepMask]) throws(PruneError) -> [Double]
    /// Told once, when the model goes.
    func close()
}

/// A `HeadObjective` in the host's terms.
public enum HostObjective {
    /// Of the token beside each row.
    case crossEntropy([Int32])
    case kl(HostHandle)
    case js(HostHandle)
}
