// SPDX-License-Identifier: Apache-2.0
import CPruneCore
import PruneCore

/// The sentence that a callback of this thread left for the call under way.
let hostSentence = ThreadText()

/// Makes one call to the host. Errors: what it answered, in a sentence that names the call.
///
/// - Parameter place: the sublayer, where there is one: " at attn.3".
private func ask(_ name: String, _ place: String = "", _ call: () -> prune_status) throws(PruneError) {
    // One that an earlier call left, whose failure the host did not tell, must not be taken for this one's.
    hostSentence.set(nil)
    let status = call()
    guard status != PRUNE_OK else { return }
    let sentence = hostSentence.take()
    let kind = FailureKind(rawValue: status) ?? .host
    let reason =
        sentence
        ?? (kind == .host ? "it returned \(status)" : "it returned \(String(cString: prune_status_name(status)))")
    throw PruneError(kind, "the host's \(name) failed\(place): \(reason)")
}

/// Errors: `.host` if a call succeeded but gave no state.
private func given(_ handle: HostHandle?, _ name: String, _ place: String = "") throws(PruneError) -> HostHandle {
    guard let handle else {
        throw PruneError(.host, "the host's \(name) returned 0\(place), but gave NULL for a hidden state")
    }
    return handle
}

/// Lends a batch to the host.
private func withBatch(
    _ data: TokenData, _ sequences: Range<Int>, _ body: (UnsafePointer<prune_host_batch>) -> prune_status
) -> prune_status {
    let tokens = data.offsets[sequences.lowerBound]..<data.offsets[sequences.upperBound]
    let lengths = sequences.map { Int64(data.offsets[$0 + 1] - data.offsets[$0]) }
    return data.tokens.withUnsafeBufferPointer { ids in
        lengths.withUnsafeBufferPointer { lengths in
            var batch = prune_host_batch(
                struct_size: UInt32(MemoryLayout<prune_host_batch>.size), reserved: 0,
                // Safe: the tokens of the sequences lie in the data.
                token_ids: ids.baseAddress.map { $0 + tokens.lowerBound }, sequence_lengths: lengths.baseAddress,
                n_sequences: sequences.count, n_tokens: tokens.count)
            return body(&batch)
        }
    }
}

/// The C functions of a host as calls of the core. Pointers handed over live until the function returns.
///
/// Sendable because what `user_data` stands for is the host's to guard.
final class CHost: HostCallbacks, @unchecked Sendable {
    private let host: prune_host
    private var user: UnsafeMutableRawPointer? { host.user_data }
    let offers: HostOffers

    init(_ host: prune_host) {
        self.host = host
        let given: [(Bool, HostOffers)] = [
            (host.embed != nil, .embed), (host.apply != nil, .apply), (host.release != nil, .release),
            (host.token_losses != nil, .tokenLosses), (host.logits != nil, .logits),
            (host.distances != nil, .distances),
            (host.compare != nil, .compare), (host.read != nil, .read), (host.write != nil, .write),
            (host.norm != nil, .norm), (host.apply_adapter != nil, .applyAdapter), (host.vjp != nil, .vjp),
            (host.head_vjp != nil, .headVJP), (host.evaluate != nil, .evaluate), (host.layer_norm != nil, .layerNorm),
        ]
        offers = given.reduce(into: []) { if $1.0 { $0.insert($1.1) } }
    }

    func close() { host.on_close?(user) }

    func release(_ state: HostHandle) { host.release?(user, state) }

    func embed(_ batch: TokenBatch) throws(PruneError) -> HostHandle {
        let call = try offered(host.embed, "embed")
        var out: prune_host_state?
        try ask("embed") { withBatch(batch.data, batch.sequences) { call(user, $0, &out) } }
        return try given(out, "embed")
    }

    func apply(_ sublayer: Int, to states: [HostHandle]) throws(PruneError) -> [HostHandle] {
        let call = try offered(host.apply, "apply")
        let before = states.map(Optional.some)
        return try newStates(states.count, "apply", sublayer) { call(user, Int64(sublayer), before, states.count, $0) }
    }

    func tokenLosses(_ state: HostHandle, at rows: [Int], of tokens: [Int32]) throws(PruneError) -> [Float] {
        let call = try offered(host.token_losses, "token_losses")
        return try floats(rows.count, "token_losses") {
            call(user, state, rows.map(Int64.init), tokens, rows.count, $0)
        }
    }

    func logits(_ state: HostHandle, at rows: Range<Int>, into out: UnsafeMutablePointer<Float>) throws(PruneError) {
        let call = try offered(host.logits, "logits")
        try ask("logits") { call(user, state, Int64(rows.lowerBound), Int64(rows.count), out) }
    }

    func distances(
        _ state: HostHandle, to reference: HostHandle, _ kind: LogitDistance, at rows: [Int]
    ) throws(PruneError) -> [Float] {
        let call = try offered(host.distances, "distances")
        let kind = prune_distance(kind.cValue)
        return try floats(rows.count, "distances") {
            call(user, state, reference, kind, rows.map(Int64.init), rows.count, $0)
        }
    }

    func compare(_ before: HostHandle, _ after: HostHandle, at rows: [Int]) throws(PruneError) -> [StateComparison] {
        let call = try offered(host.compare, "compare")
        // The host's array has the stride that it was compiled with. Its fields are doubles; what it leaves out is NaN.
        let stride = Int(host.comparison_size) / MemoryLayout<Double>.stride
        var out = [Double](repeating: .nan, count: rows.count * stride)
        try ask("compare") {
            out.withUnsafeMutableBytes {
                call(
                    user, before, after, rows.map(Int64.init), rows.count,
                    $0.baseAddress?.assumingMemoryBound(to: prune_comparison.self))
            }
        }
        return rows.indices.map { row in
            let one = out[(row * stride)...]
            let first = one.startIndex
            return StateComparison(
                beforeL1: one[first], beforeSquares: one[first + 1], afterL1: one[first + 2],
                afterSquares: one[first + 3], updateL1: one[first + 4], updateSquares: one[first + 5])
        }
    }

    func read(_ state: HostHandle, into out: UnsafeMutablePointer<Float>) throws(PruneError) {
        let call = try offered(host.read, "read")
        try ask("read") { call(user, state, out) }
    }

    func write(like state: HostHandle, _ values: UnsafePointer<Float>) throws(PruneError) -> HostHandle {
        let call = try offered(host.write, "write")
        var out: prune_host_state?
        try ask("write") { call(user, state, values, &out) }
        return try given(out, "write")
    }

    func norm(ofSublayer sublayer: Int, hiddenSize: Int) throws(PruneError) -> InputNorm? {
        if offers.contains(.norm), let norm = try rootMeanSquareNorm(ofSublayer: sublayer, hiddenSize) { return norm }
        return offers.contains(.layerNorm) ? try layerNorm(ofSublayer: sublayer, hiddenSize) : nil
    }

    private func layerNorm(ofSublayer sublayer: Int, _ hiddenSize: Int) throws(PruneError) -> InputNorm? {
        let call = try offered(host.layer_norm, "layer_norm")
        let place = " at \(sublayerName(sublayer))"
        var (gain, bias) = ([Float](repeating: .nan, count: hiddenSize), [Float](repeating: .nan, count: hiddenSize))
        var epsilon = Float.nan
        do throws(PruneError) {
            try ask("layer_norm", place) { call(user, Int64(sublayer), &gain, &bias, &epsilon) }
        } catch {
            if error.kind == .unsupported { return nil }
            throw error
        }
        guard epsilon.isFinite, epsilon >= 0, gain.allSatisfy(\.isFinite), bias.allSatisfy(\.isFinite) else {
            throw PruneError(
                .host, "the host's layer_norm gave a gain, bias or epsilon\(place) that is not finite, or negative")
        }
        return InputNorm(.layer, gain: gain, bias: bias.allSatisfy { $0 == 0 } ? nil : bias, epsilon: epsilon)
    }

    private func rootMeanSquareNorm(
        ofSublayer sublayer: Int, _ hiddenSize: Int
    ) throws(PruneError) -> InputNorm? {
        let call = try offered(host.norm, "norm")
        let place = " at \(sublayerName(sublayer))"
        var gain = [Float](repeating: .nan, count: hiddenSize)
        var epsilon = Float.nan
        do throws(PruneError) {
            try ask("norm", place) { call(user, Int64(sublayer), &gain, &epsilon) }
        } catch {
            if error.kind == .unsupported { return nil }
            throw error
        }
        guard epsilon.isFinite, epsilon >= 0, gain.allSatisfy(\.isFinite) else {
            throw PruneError(.host, "the host's norm gave a gain or an epsilon\(place) that is not finite, or negative")
        }
        return InputNorm(gain: gain, epsilon: epsilon)
    }

    func apply(_ adapter: Adapter, inPlaceOf sublayer: Int, to state: HostHandle) throws(PruneError) -> HostHandle {
        let call = try offered(host.apply_adapter, "apply_adapter")
        let place = " at \(sublayerName(sublayer))"
        var out: prune_host_state?
        try ask("apply_adapter", place) { withAdapter(adapter, sublayer) { call(user, $0, state, &out) } }
        return try given(out, "apply_adapter", place)
    }

    func vjp(
        _ sublayer: Int, at states: [HostHandle], of gradients: [HostHandle]
    ) throws(PruneError) -> [HostHandle] {
        let call = try offered(host.vjp, "vjp")
        let (before, slopes) = (states.map(Optional.some), gradients.map(Optional.some))
        return try newStates(states.count, "vjp", sublayer) {
            call(user, Int64(sublayer), before, slopes, states.count, $0)
        }
    }

    func headVJP(
        _ state: HostHandle, _ objective: HostObjective, at rows: [Int], weights: [Float]
    ) throws(PruneError) -> (losses: [Float], gradient: HostHandle) {
        let call = try offered(host.head_vjp, "head_vjp")
        let places = rows.map(Int64.init)
        var out: prune_host_state?
        let losses = try floats(rows.count, "head_vjp") { losses in
            switch objective {
            case .crossEntropy(let tokens):
                call(
                    user, state, prune_objective(PRUNE_OBJECTIVE_CE), nil, places, tokens, weights, rows.count, losses,
                    &out)
            case .kl(let reference):
                call(
                    user, state, prune_objective(PRUNE_OBJECTIVE_KL), reference, places, nil, weights, rows.count,
                    losses,
                    &out)
            case .js(let reference):
                call(
                    user, state, prune_objective(PRUNE_OBJECTIVE_JS), reference, places, nil, weights, rows.count,
                    losses,
                    &out)
            }
        }
        return (losses, try given(out, "head_vjp"))
    }

    func evaluate(_ data: TokenData, under masks: [KeepMask]) throws(PruneError) -> [Double] {
        let call = try offered(host.evaluate, "evaluate")
        let keeps = masks.flatMap(\.bytes)
        var losses = [Double](repeating: .nan, count: masks.count)
        try ask("evaluate") {
            withBatch(data, 0..<data.sequenceCount) { batch in
                guard let weights = data.weights else { return call(user, batch, nil, keeps, masks.count, &losses) }
                return call(user, batch, weights, keeps, masks.count, &losses)
            }
        }
        return losses
    }

    /// The states that a call gives: all of them. What it gave beside a NULL is released.
    private func newStates(
        _ count: Int, _ name: String, _ sublayer: Int,
        _ call: (UnsafeMutablePointer<prune_host_state?>?) -> prune_status
    ) throws(PruneError) -> [HostHandle] {
        let place = " at \(sublayerName(sublayer))"
        var out = [prune_host_state?](repeating: nil, count: count)
        try ask(name, place) { out.withUnsafeMutableBufferPointer { call($0.baseAddress) } }
        let states = out.compactMap { $0 }
        if states.count < count {
            for state in states { release(state) }
            throw PruneError(
                .host, "the host's \(name) returned 0\(place), but gave \(states.count) of \(count) hidden states")
        }
        return states
    }
}

extension LogitDistance {
    fileprivate var cValue: Int {
        switch self {
        case .l2: PRUNE_DISTANCE_L2
        case .kl: PRUNE_DISTANCE_KL
        case .js: PRUNE_DISTANCE_JS
        }
    }
}

/// Errors: `.internal` for a call that the host does not offer: none such is made.
private func offered<Call>(_ call: Call?, _ name: String) throws(PruneError) -> Call {
    guard let call else { throw PruneError(.internal, "the host's \(name) was called, which it does not offer") }
    return call
}

/// `count` numbers that a call fills in; those that it leaves out are NaN.
private func floats(
    _ count: Int, _ name: String, _ call: (UnsafeMutablePointer<Float>?) -> prune_status
) throws(PruneError) -> [Float] {
    var out = [Float](repeating: .nan, count: count)
    try ask(name) { out.withUnsafeMutableBufferPointer { call($0.baseAddress) } }
    return out
}

/// Lends an adapter to the host.
private func withAdapter(
    _ adapter: Adapter, _ sublayer: Int, _ body: (UnsafePointer<prune_host_adapter>) -> prune_status
) -> prune_status {
    func lend(_ gain: UnsafePointer<Float>?, _ bias: UnsafePointer<Float>? = nil) -> prune_status {
        adapter.parameters.withUnsafeBufferPointer { values in
            // Safe: the ranges lie in the parameters, which live until the call returns.
            func part(_ range: Range<Int>) -> UnsafePointer<Float>? {
                range.isEmpty ? nil : values.baseAddress.map { $0 + range.lowerBound }
            }
            var lent = prune_host_adapter(
                struct_size: UInt32(MemoryLayout<prune_host_adapter>.size), kind: adapter.kind.rawValue,
                sublayer: Int64(sublayer), hidden_size: Int64(adapter.width), rank: Int64(adapter.rank),
                bias: part(adapter.biasRange), down: part(adapter.downRange), up: part(adapter.upRange),
                matrix: part(adapter.matrixRange), norm_gain: gain, norm_epsilon: adapter.norm?.epsilon ?? 0,
                norm_kind: prune_norm_kind(adapter.norm?.kind == .layer ? PRUNE_NORM_LAYER : PRUNE_NORM_RMS),
                norm_bias: bias)
            return body(&lent)
        }
    }
    guard let norm = adapter.norm else { return lend(nil) }
    return norm.gain.withUnsafeBufferPointer { gain in
        guard let bias = norm.bias else { return lend(gain.baseAddress) }
        return bias.withUnsafeBufferPointer { lend(gain.baseAddress, $0.baseAddress) }
    }
}
