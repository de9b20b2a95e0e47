// SPDX-License-Identifier: Apache-2.0
extension PlanReader {
    /// The mixture of a block; nil if its feed-forward is dense.
    func mixture(block: Int) throws(PruneError) -> MixturePlan? {
        guard let rule = architecture.mixture else { return nil }
        let key = rule.expertCountKeys.first { file.value($0) != nil } ?? rule.expertCountKeys[0]
        let declared = try file.optionalCount(key, from: 0, limit: ModelConfig.Limits.experts)
        guard try isMixture(rule, block), let expertCount = declared ?? rule.missingExpertCount, expertCount > 0
        else { return nil }
        let chosen =
            try file.optionalCount(rule.chosenCountKey, limit: ModelConfig.Limits.experts) ?? rule.missingChosenCount
        guard expertCount * blockCount <= ModelConfig.Limits.parts else {
            throw file.fault(
                .unsupported, key,
                "is \(expertCount) in \(blockCount) blocks; this version computes models of at most "
                    + "\(ModelConfig.Limits.parts) experts in all")
        }
        guard chosen <= expertCount else {
            throw file.fault(.format, rule.chosenCountKey, "is \(chosen); there are \(expertCount) experts")
        }
        guard let size = try file.optionalCount(rule.sizeKey, limit: ModelConfig.Limits.feedForward) else {
            throw file.missing(rule.sizeKey)
        }
        let own = try rule.readActivation(file)
        let activation = if let own { own } else { try architecture.feedForward.readActivation(file) }
        return MixturePlan(
            router: projection(
                name(rule.router, block), outputs: expertCount, inputs: width, hasBias: rule.routerHasBias),
            chosenCount: chosen,
            isNormalised: try rule.isNormalised.read(file),
            experts: try (0..<expertCount).map { expert throws(PruneError) in
                try self.expert(expert, of: expertCount, rule, block, size, activation)
            },
            shared: try shared(rule, block),
            sharedGate: rule.shared?.gate.map {
                projection(name($0, block), outputs: 1, inputs: width, hasBias: false)
            })
    }

    private func isMixture(_ rule: MixtureRule, _ block: Int) throws(PruneError) -> Bool {
        if let key = rule.denseBlocksKey, file.value(key) != nil, try file.numbers(key).contains(Double(block)) {
            return false
        }
        guard let key = rule.sparseStepKey else { return true }
        let step = try file.optionalCount(key, limit: ModelConfig.Limits.blocks) ?? 1
        return (block + 1) % step == 0
    }

    private func expert(
        _ expert: Int, of count: Int, _ rule: MixtureRule, _ block: Int, _ size: Int, _ activation: Activation
    ) throws(PruneError) -> FeedForwardPlan {
        /// Some outputs of a tensor that holds those of all experts.
        func stacked(_ tensor: String, _ outputs: Int, _ inputs: Int, first: Int = 0, of all: Int) -> ProjectionPlan {
            ProjectionPlan(
                outputs: outputs, inputs: inputs,
                weight: ProjectionPlan.Place(
                    tensor: name(tensor, block), shape: [count, all, inputs], expert: expert, first: first),
                bias: nil, absentBias: nil)
        }
        /// The same, with a name that ".weight" and ".bias" are added to.
        func module(_ path: String, _ outputs: Int, _ inputs: Int) -> ProjectionPlan {
            let bias = hasStoredBias(name(path, block)) ?? false
            return ProjectionPlan(
                outputs: outputs, inputs: inputs,
                weight: ProjectionPlan.Place(
                    tensor: name(path + ".weight", block), shape: [count, outputs, inputs], expert: expert),
                bias: bias
                    ? ProjectionPlan.Place(
                        tensor: name(path + ".bias", block), shape: [count, outputs], expert: expert) : nil,
                absentBias: nil)
        }
        func transposed(_ tensor: String, _ outputs: Int, _ inputs: Int) -> ProjectionPlan {
            ProjectionPlan(
                outputs: outputs, inputs: inputs,
                weight: ProjectionPlan.Place(
                    tensor: name(tensor, block), shape: [count, inputs, outputs], expert: expert, isTransposed: true),
                bias: ProjectionPlan.Place(
                    tensor: name(tensor + "_bias", block), shape: [count, outputs], expert: expert),
                absentBias: nil)
        }
        switch rule.experts {
        case .separate(let path, let gate, let up, let down):
            func own(_ path: String) -> String { "\(path).\(expert)" }
            var plan = try feedForward(
                block, .gated(gate: "\(own(path)).\(gate)", up: "\(own(path)).\(up)"), "\(own(path)).\(down)",
                size: size, hasBias: false)
            plan.activation = activation
            return plan
        case .apart(let gate, let up, let down):
            return FeedForwardPlan(
                inputs: .gated(gate: module(gate, size, width), up: module(up, size, width)),
                down: module(down, width, size), activation: activation)
        case .stacked(let inner, let down):
            return FeedForwardPlan(
                inputs: .gated(
                    gate: stacked(inner, size, width, of: 2 * size),
                    up: stacked(inner, size, width, first: size, of: 2 * size)),
                down: stacked(down, width, size, of: width), activation: activation)
        case .alternating(let inner, let down):
            return FeedForwardPlan(
                inputs: .alternating(transposed(inner, 2 * size, width)), down: transposed(down, width, size),
                activation: activation)
        }
    }

    private func shared(_ rule: MixtureRule, _ block: Int) throws(PruneError) -> FeedForwardPlan? {
        guard let shared = rule.shared else { return nil }
        let size = try file.optionalCount(shared.sizeKey, from: 0, limit: ModelConfig.Limits.feedForward)
        guard let size = size ?? shared.missingSize else { throw file.missing(shared.sizeKey) }
        if size == 0 { return nil }
        return try feedForward(block, shared.inner, shared.down, size: size, hasBias: false)
    }
}
