// SPDX-License-Identifier: Apache-2.0
extension ModelConfig {
    /// What sets the model apart from a Llama without biases, after "the family": "has ..."; nil if nothing does.
    ///
    /// Formats whose runtimes compute Llama can hold it then, whatever its family is called.
    var differenceFromLlama: String? {
        if embedding.scale != 1 { return "scales its embeddings" }
        if embedding.positions != nil { return "has learned positions" }
        if head.softCap != nil || head.bias != nil { return "changes its logits by a cap or a bias" }
        guard let norm = head.norm else { return "has no final norm" }
        // A factor on all logits stands in the norm.
        if norm.factor != 1 { return "scales its logits" }
        if let difference = norm.differenceFromLlama { return "\(difference) (the final one)" }
        for (index, sublayer) in sublayers.enumerated() {
            if let difference = sublayer.differenceFromLlama(headSize: headSize, contextLength: contextLength) {
                return "\(difference) (\(sublayerName(index)))"
            }
        }
        return nil
    }
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
    fileprivate func differenceFromLlama(headSize: Int, contextLength: Int) -> String? {
        guard let before else { return "has no norms before its sublayers" }
        if let difference = before.differenceFromLlama { return difference }
        if after != nil || last != nil { return "has norms after its sublayers" }
        if scale != 1 { return "scales its updates" }
        if readsBlockInput { return "has sublayers side by side" }
        switch update {
        case .attention(let plan):
            return plan.differenceFromLlama(headSize: headSize, contextLength: contextLength)
        case .feedForward(let plan):
            guard case .gated(let gate, let up) = plan.inputs else { return "has no gates in its feed-forward" }
            if [gate, up, plan.down].contains(where: { $0.bias != nil }) { return "has biases" }
            if plan.activation != .silu { return "has another activation than silu" }
            return [gate, up, plan.down].contains { !$0.isWhole } ? "stores several matrices as one" : nil
        case .mixture: return "has mixtures of experts"
        }
    }
}

extension AttentionPlan {
    fileprivate func differenceFromLlama(headSize: Int, contextLength: Int) -> String? {
        if queryNorm != nil || keyNorm != nil { return "has norms of queries and keys" }
        guard case .separate(let query, let key, let value) = inputs,
            [query, key, value, output].allSatisfy(\.isWhole)
        else { return "stores several matrices as one" }
        if [query, key, value, output].contains(where: { $0.bias != nil }) { return "has biases" }
        if clip != nil || softCap != nil || sinks != nil { return "changes its scores" }
        if scale != 1 / Float(headSize).squareRoot() { return "scales its scores otherwise" }
        if let window, window < contextLength { return "attends to windows of \(window) tokens" }
        guard let rotary else { return "does not turn its heads by position" }
        if rotary.size != headSize { return "turns parts of its heads" }
        return rotary.pairing == .halves ? nil : "turns pairs of neighbours in its heads"
    }
}

extension ProjectionPlan {
    /// Whether its tensors hold it alone, outputs x inputs.
    var isWhole: Bool { weight.shape == [outputs, inputs] && !weight.isTransposed }
}
