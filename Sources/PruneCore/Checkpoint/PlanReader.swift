// SPDX-License-Identifier: Apache-2.0
/// Reads config.json by the row of its family, and gives the plan of every sublayer.
struct PlanReader {
    let file: ConfigObject
    let architecture: Architecture
    let heads: ModelConfig.Heads
    let blockCount: Int
    let contextLength: Int
    let normEpsilon: Float
    let windows: [Int?]
    let rotations: [RotaryParameters?]
    let normTypes: NormTypes
    let normsHaveGain: Bool
    let isParallel: Bool
    let updateScale: Float
    /// Of dense feed-forwards that have a width of their own, by block.
    let feedForwardSizes: [Int: Int]

    var names: TensorNames { architecture.names }
    var width: Int { heads.hiddenSize }

    init(
        _ file: ConfigObject, _ architecture: Architecture, _ heads: ModelConfig.Heads, blockCount: Int,
        contextLength: Int, feedForwardSizes: [Int: Int] = [:]
    ) throws(PruneError) {
        self.feedForwardSizes = feedForwardSizes
        self.file = file
        self.architecture = architecture
        self.heads = heads
        self.blockCount = blockCount
        self.contextLength = contextLength
        normEpsilon = try architecture.norm.readEpsilon(file)
        normsHaveGain = try architecture.norm.hasGain.read(file)
        normTypes = try NormTypes.read(file, architecture, blockCount: blockCount)
        let windows = try architecture.windows.read(file, architecture, blockCount: blockCount)
        self.windows = windows
        rotations = try architecture.rotary.read(
            file, headSize: heads.size, contextLength: contextLength, windows: windows)
        isParallel = try architecture.isParallel.read(file)
        updateScale = Float(try architecture.updateScale.read(file))
        guard !architecture.attention.separatesHeadNorms || heads.queryCount * blockCount <= ModelConfig.Limits.parts
        else {
            throw file.fault(
                .unsupported, architecture.keys.headCount,
                "is \(heads.queryCount) in \(blockCount) blocks; this version computes models of at most "
                    + "\(ModelConfig.Limits.parts) heads in all in this family")
        }
    }

    /// The name of a tensor of a block, or of a module.
    func name(_ path: String, _ block: Int) -> String { "\(names.blocks).\(block).\(path)" }

    // MARK: Norms

    /// A norm over `width` values.
    func norm(_ module: String, width: Int, factor: Float) -> NormPlan {
        let rule = architecture.norm
        return NormPlan(
            kind: rule.kind, epsilon: normEpsilon, gains: normsHaveGain ? [module + ".weight"] : [],
            shape: [width], bias: normsHaveGain && rule.hasBias ? module + ".bias" : nil,
            offset: rule.offset, factor: factor)
    }

    private func norm(_ module: String?, block: Int, factor: Float) -> NormPlan? {
        module.map { norm(name($0, block), width: width, factor: factor) }
    }

    private func headNorm(_ module: String, _ count: Int, _ block: Int) -> HeadNormPlan {
        let rule = architecture.attention
        let path = name(module, block)
        let norm = architecture.norm
        func plan(_ gains: [String], _ shape: [Int]) -> HeadNormPlan {
            HeadNormPlan(
                norm: NormPlan(
                    kind: norm.kind, epsilon: normEpsilon, gains: gains, shape: shape,
                    bias: rule.headNormHasBias ? path + ".bias" : nil, offset: norm.offset, factor: 1),
                span: rule.headNormSpan)
        }
        if rule.separatesHeadNorms { return plan((0..<count).map { "\(path).norms.\($0).weight" }, [heads.size]) }
        return switch rule.headNormSpan {
        case .head: plan([path + ".weight"], [heads.size])
        case .eachHead: plan([path + ".weight"], [count, heads.size])
        case .allHeads: plan([path + ".weight"], [count * heads.size])
        }
    }

    // MARK: Projections

    /// A projection with a tensor of its own, or `outputs` of one that holds more.
    ///
    /// - Parameter part: the first output, and how many the tensor has; nil = it has no others.
    func projection(
        _ module: String, outputs: Int, inputs: Int, part: (first: Int, of: Int)? = nil, hasBias: Bool
    ) -> ProjectionPlan {
        let (first, all) = part ?? (0, outputs)
        let isTransposed = architecture.names.storesTransposed
        let hasBias = hasStoredBias(module) ?? hasBias
        return ProjectionPlan(
            outputs: outputs, inputs: inputs,
            weight: ProjectionPlan.Place(
                tensor: module + ".weight", shape: isTransposed ? [inputs, all] : [all, inputs], first: first,
                isTransposed: isTransposed),
            bias: hasBias ? ProjectionPlan.Place(tensor: module + ".bias", shape: [all], first: first) : nil,
            absentBias: hasBias ? nil : module + ".bias")
    }

    /// Whether a module has a bias, where the tensors say it and not the settings.
    func hasStoredBias(_ module: String) -> Bool? { names.storedBiases?.contains(module + ".bias") }

    // MARK: Sublayers

    func attention(block: Int) throws(PruneError) -> SublayerPlan {
        let rule = architecture.attention
        let hasNorms = try rule.hasHeadNorms.read(file)
        let (queries, keys) = (heads.queryCount * heads.size, heads.keyValueCount * heads.size)
        let plan = AttentionPlan(
            inputs: try attentionInputs(block, queries, keys),
            output: projection(
                name(names.output, block), outputs: width, inputs: queries, hasBias: try rule.outputBias.read(file)),
            clip: try rule.clip.read(file).map { Float($0) },
            queryNorm: hasNorms ? headNorm(names.queryNorm, heads.queryCount, block) : nil,
            keyNorm: hasNorms ? headNorm(names.keyNorm, heads.keyValueCount, block) : nil,
            rotary: rotations[block],
            scale: try rule.scale.read(file, headSize: heads.size, block: block),
            softCap: try rule.softCap.read(file).map { Float($0) },
            window: windows[block],
            sinks: rule.hasSinks ? name(names.sinks, block) : nil)
        return sublayer(names.attention, block, .attention(plan), readsBlockInput: false)
    }

    private func attentionInputs(
        _ block: Int, _ queries: Int, _ keys: Int
    ) throws(PruneError) -> AttentionPlan.Inputs {
        let hasBias = try architecture.attention.inputBias.read(file)
        let all = queries + 2 * keys
        switch names.projections {
        case .separate(let query, let key, let value):
            func own(_ path: String, _ outputs: Int) -> ProjectionPlan {
                projection(name(path, block), outputs: outputs, inputs: width, hasBias: hasBias)
            }
            return .separate(query: own(query, queries), key: own(key, keys), value: own(value, keys))
        case .stacked(let path):
            func part(_ first: Int, _ outputs: Int) -> ProjectionPlan {
                projection(
                    name(path, block), outputs: outputs, inputs: width, part: (first, all), hasBias: hasBias)
            }
            return .separate(
                query: part(0, queries), key: part(queries, keys), value: part(queries + keys, keys))
        case .headByHead(let path):
            return .headByHead(projection(name(path, block), outputs: all, inputs: width, hasBias: hasBias))
        }
    }

    func feedForward(block: Int) throws(PruneError) -> SublayerPlan {
        let update: SublayerPlan.Update =
            if let mixture = try mixture(block: block) {
                .mixture(mixture)
            } else {
                .feedForward(
                    try feedForward(
                        block, names.inner, names.down, size: try feedForwardSize(ofBlock: block),
                        hasBias: try architecture.feedForward.hasBias.read(file)))
            }
        var modules = names.feedForward
        if isParallel, architecture.sharesParallelNorm { modules.before = names.attention.before }
        return sublayer(modules, block, update, readsBlockInput: isParallel)
    }

    func feedForward(
        _ block: Int, _ inner: TensorNames.Inner, _ down: String, size: Int, hasBias: Bool
    ) throws(PruneError) -> FeedForwardPlan {
        func own(_ path: String, part: (first: Int, of: Int)? = nil) -> ProjectionPlan {
            projection(name(path, block), outputs: size, inputs: width, part: part, hasBias: hasBias)
        }
        let inputs: FeedForwardPlan.Inputs =
            switch inner {
            case .gated(let gate, let up): .gated(gate: own(gate), up: own(up))
            case .stacked(let path): .gated(gate: own(path, part: (0, 2 * size)), up: own(path, part: (size, 2 * size)))
            case .plain(let path): .plain(own(path))
            }
        return FeedForwardPlan(
            inputs: inputs,
            down: projection(name(down, block), outputs: width, inputs: size, hasBias: hasBias),
            activation: try architecture.feedForward.readActivation(file))
    }

    private func feedForwardSize(ofBlock block: Int) throws(PruneError) -> Int {
        if let own = feedForwardSizes[block] { return own }
        return try feedForwardSize()
    }

    /// Width of a dense feed-forward.
    func feedForwardSize() throws(PruneError) -> Int {
        let rule = architecture.feedForward
        if let size = try file.optionalCount(rule.sizeKey, limit: ModelConfig.Limits.feedForward) { return size }
        guard let multiple = rule.missingMultiple else { throw file.missing(rule.sizeKey) }
        return multiple * width
    }

    private func sublayer(
        _ modules: SublayerModules, _ block: Int, _ update: SublayerPlan.Update, readsBlockInput: Bool
    ) -> SublayerPlan {
        let type = normTypes.blocks[block]
        let after = norm(modules.after, block: block, factor: 1)
        switch type.place {
        case .before:
            return SublayerPlan(
                before: norm(modules.before, block: block, factor: type.factor), after: after, last: nil,
                scale: updateScale, readsBlockInput: readsBlockInput, update: update)
        case .sum(let attention, let feedForward):
            let isAttention = if case .attention = update { true } else { false }
            return SublayerPlan(
                before: nil, after: after,
                last: norm(isAttention ? attention : feedForward, block: block, factor: type.factor),
                scale: updateScale, readsBlockInput: readsBlockInput, update: update)
        }
    }

    // MARK: Ends of the model

    func embedding() throws(PruneError) -> EmbeddingPlan {
        let rule = architecture.embedding
        var tableWidth = width
        var projection: ProjectionPlan?
        if let (key, into) = rule.width, let own = try file.optionalCount(key, limit: ModelConfig.Limits.width),
            own != width
        {
            tableWidth = own
            projection = self.projection(into, outputs: width, inputs: own, hasBias: false)
        }
        let positions = zip(names.positions, rule.positionOffset).map { module, offset in
            EmbeddingPlan.Positions(tensor: module + ".weight", rows: contextLength + offset, offset: offset)
        }
        return EmbeddingPlan(
            width: tableWidth, scale: try rule.scale.read(file, width: width), positions: positions,
            projection: projection)
    }

    func head() throws(PruneError) -> HeadPlan {
        let rule = architecture.head
        let scale = try rule.scale.read(file)
        let table = try embedding().width
        return HeadPlan(
            norm: normTypes.hasFinalNorm ? norm(names.finalNorm, width: width, factor: scale) : nil,
            projection: table == width
                ? nil
                : rule.projection.map { projection($0, outputs: table, inputs: width, hasBias: false) },
            bias: rule.hasBias ? names.head + ".bias" : nil,
            softCap: try rule.softCap.read(file).map { Float($0) })
    }
}

/// A pair, if both are there.
private func zip<First, Second>(_ first: First?, _ second: Second?) -> (First, Second)? {
    if let first, let second { (first, second) } else { nil }
}
