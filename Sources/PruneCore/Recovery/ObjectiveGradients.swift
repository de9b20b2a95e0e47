/// The gradient of an objective with respect to the hidden states before `sublayer`, tokens x hiddenSize, and the
/// objective: the weighted mean over all predicting tokens.
///
/// - Parameters:
///   - objective: `.crossEntropy`, `.kl` or `.js`; the latter two compare with the model when it keeps everything.
///   - sublayer: 0 ... sublayerCount; the last one = after all of them.
/// Errors: `.argument`, `.data`, `.unsupported`, `.nonFinite`, `.cancelled`, `.memory`.
public func objectiveGradient(
    _ model: any Model, _ data: TokenData, under mask: KeepMask, _ objective: RecoveryObjective, atSublayer sublayer: Int,
    batchTokens: Int, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> (gradient: FloatBuffer, loss: Double) {
    throw PruneError(.unsupported, "not here yet")
}

/// The gradient of an objective with respect to the parameters of one adapter, all adapters in place, and the objective.
///
/// - Parameter objective: any but `.closedForm`.
/// Errors: as `objectiveGradient`; `.argument` if the adapters are of another model, or none stands at `sublayer`.
public func adapterGradient(
    _ model: any Model, _ data: TokenData, _ adapters: AdapterSet, _ objective: RecoveryObjective,
    atSublayer sublayer: Int, batchTokens: Int, progress: ProgressMeter.Listener? = nil
) throws(PruneError) -> (gradient: [Float], loss: Double) {
    throw PruneError(.unsupported, "not here yet")
}
