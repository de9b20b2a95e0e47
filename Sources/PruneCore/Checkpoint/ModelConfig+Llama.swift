// SPDX-License-Identifier: Apache-2.0
extension ModelConfig {
    /// What sets the model apart from a Llama without biases, after "the family": "has ..."; nil if nothing does.
    ///
    /// Formats whose runtimes compute Llama can hold it then, whatever its family is called.
    ///
    /// - Parameter biases: whether the runtimes add biases wherever Llama has projections.
    func differenceFromLlama(besidesBiases biases: Bool = false) -> String? {
        if embedding.scale != 1 { return "scales its embeddings" }
        if embedding.positions != nil { return "has learned positions" }
        if head.softCap != nil || head.bias != nil { return "changes its logits by a cap or a bias" }
        guard let norm = head.norm else { return "has no final norm" }
        // A factor on all logits stands in the norm.
        if norm.factor != 1 { return "scales its logits" }
        if let difference = norm.differenceFromLlama { return "\(difference) (the final one)" }
        let context = LlamaComparison(headSize: headSize, contextLength: contextLength, allowsBiases: biases)
        for (index, sublayer) in sublayers.enumerated() {
            if let difference = sublayer.differenceFromLlama(context) {
                return "\(difference) (\(sublayerName(index)))"
            }
        }
        return nil
    }
}

/// What a sublayer is compared by.
private struct LlamaComparison {
    let headSize: Int
    let contextLength: Int
    let allowsBiases: Bool

    /// Whether there is a bias that must not be.
    func refuses(_ projections: [ProjectionPlan]) -> Bool { !allowsBiases && projections.contains { $0.bias != nil } }
}

extension NormPlan {
    fileprivate var differenceFromLlama: String? {
        if kind == .layer { return "has layer norms" }
        if gains.count != 1 || bias != nil { return "has norms with a bias, or without a gain" }
        // A factor goes into the stored gain: see `ExportSubject`.
        return offset == 0 ? nil : "adds \(offset) to the gains of its norms"
    }
}

extension SublayerPlan {
    fileprivate func differenceFromLlama(_ context: LlamaComparison) -> String? {
        guard let before else { return "has no norms before its sublayers" }
        if let difference = before.differenceFromLlama { return difference }
        if after != nil || last != nil { return "has norms after its sublayers" }
        if scale != 1 { return "scales its updates" }
        if readsBlockInput { return "has sublayers side by side" }
        switch update {
        case .attention(let plan):
            return plan.differenceFromLlama(context)
        case .feedForward(let plan):
            guard case .gated(let gate, let up) = plan.inputs else { return "has no gates in its feed-forward" }
            if context.refuses([gate, up, plan.down]) { return "has biases" }
            if plan.activation != .silu { return "has another activation than silu" }
            return [gate, up, plan.down].contains { !$0.isWhole } ? "stores several matrices as one" : nil
        case .mixture: return "has mixtures of experts"
        }
    }
}

extension AttentionPlan {
    fileprivate func differenceFromLlama(_ context: LlamaComparison) -> String? {
        if queryNorm != nil || keyNorm != nil { return "has norms of queries and keys" }
        guard case .separate(let query, let key, let value) = inputs,
            [query, key, value, output].allSatisfy(\.isWhole)
        else { return "stores several matrices as one" }
        if context.refuses([query, key, value, output]) { return "has biases" }
        if clip != nil || softCap != nil || sinks != nil { return "changes its scores" }
        if scale != 1 / Float(context.headSize).squareRoot() { return "scales its scores otherwise" }
        if let window, window < context.contextLength { return "attends to windows of \(window) tokens" }
        guard let rotary else { return "does not turn its heads by position" }
        if rotary.size != context.headSize { return "turns parts of its heads" }
        return rotary.pairing == .halves ? nil : "turns pairs of neighbours in its heads"
    }
}

extension ProjectionPlan {
    /// Whether its tensors hold it alone, outputs x inputs.
    var isWhole: Bool { weight.shape == [outputs, inputs] && !weight.isTransposed }
}
