/// What the closed form learns from: for every adapter to be made, the moments of its input x and of the update u that it
/// is to emulate, as running sums in double over the tokens of the full model's stream.
public struct RecoveryMoments: Sendable {
    public let mask: KeepMask

    /// Empty moments for what a mask removes. `options`: kind, normsInput and blockSlot are used.
    /// Errors: `.argument` if the mask removes nothing or is of another model; `.memory`.
    public init(_ model: any Model, under mask: KeepMask, _ options: AdapterOptions) throws(PruneError) {
        throw PruneError(.unsupported, "not here yet")
    }

    /// Adds all tokens by one forward pass of the full model. Discard the moments if it throws.
    public mutating func collect(
        _ model: any Model, _ data: TokenData, batchTokens: Int, progress: ProgressMeter.Listener? = nil
    ) throws(PruneError) {
        throw PruneError(.unsupported, "not here yet")
    }

    /// Errors: `.argument` if the two are of different masks or options.
    public mutating func merge(_ other: RecoveryMoments) throws(PruneError) {
        throw PruneError(.unsupported, "not here yet")
    }

    /// Adapters in closed form.
    ///
    /// - Parameter heldOut: what ridge and rank are chosen by; nil = a ridge of 1e-3 where none is given.
    /// Errors: `.data` without tokens; `.argument` for a rank to be chosen and nothing to choose by; `.memory`.
    public func solve(heldOut: RecoveryMoments?, _ options: AdapterOptions) throws(PruneError) -> AdapterSet {
        throw PruneError(.unsupported, "not here yet")
    }
}

/// Adapters in closed form, along the stream that the options name.
///
/// Errors: as `recover`.
func closedForm(
    _ model: any Model, _ data: TokenData, heldOut: TokenData, under mask: KeepMask, _ options: AdapterOptions,
    progress: ProgressMeter.Listener?
) throws(PruneError) -> AdapterSet {
    throw PruneError(.unsupported, "not here yet")
}
