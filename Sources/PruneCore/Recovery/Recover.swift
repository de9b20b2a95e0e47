/// Makes adapters that emulate what a mask removes.
///
/// - Parameters:
///   - heldOut: what ridge, rank and the best step are chosen by; nil = a share of the data's sequences, by seed.
///   - initial: adapters to train on from, which must be of this mask; nil = as `training.start` says.
///   - training: nil = the closed form alone.
///   - step: told after every training step; returns true to stop with `.cancelled`.
/// Errors: `.argument` for a mask that removes nothing, or options out of range; `.data` if there is too little to learn
/// from or to predict; `.unsupported` if the model has no gradients; `.nonFinite`; `.cancelled`; those of files.
public func recover(
    _ model: any Model, _ data: TokenData, heldOut: TokenData? = nil, under mask: KeepMask, _ options: AdapterOptions,
    initial: AdapterSet? = nil, training: TrainingOptions? = nil, progress: ProgressMeter.Listener? = nil,
    step: ((TrainingProgress) -> Bool)? = nil
) throws(PruneError) -> AdapterSet {
    throw PruneError(.unsupported, "not here yet")
}
