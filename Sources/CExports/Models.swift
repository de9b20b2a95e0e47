// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

/// The options of the first version ended before `on_close`.
private let modelOptionsSize =
    MemoryLayout<prune_model_options>.offset(of: \.on_close) ?? MemoryLayout<prune_model_options>.size
/// The shape of the first version ended before `compute`.
private let modelShapeSize =
    MemoryLayout<prune_model_shape>.offset(of: \.compute) ?? MemoryLayout<prune_model_shape>.size

/// The compute type that a C value names; nil = automatic. Errors: `.argument` for another value.
private func computeType(_ value: prune_compute, _ name: String) throws(PruneError) -> ComputeType? {
    switch Int(value) {
    case PRUNE_COMPUTE_AUTOMATIC: return nil
    case PRUNE_COMPUTE_FLOAT32: return .float32
    case PRUNE_COMPUTE_BFLOAT16: return .bfloat16
    default: throw PruneError(.argument, "\(name) is \(value), which is none of PRUNE_COMPUTE_*")
    }
}

private func cCompute(_ type: ComputeType) -> prune_compute {
    switch type {
    case .float32: prune_compute(PRUNE_COMPUTE_FLOAT32)
    case .bfloat16: prune_compute(PRUNE_COMPUTE_BFLOAT16)
    }
}

/// How the host is told that nothing uses what it lent any more.
///
/// Sendable because the header says so: the host may be told on any thread.
struct CloseNotice: @unchecked Sendable {
    let callback: prune_close_fn?
    let userData: UnsafeMutableRawPointer?

    func tell() { callback?(userData) }
}

/// The options of a model, checked. Its compute type is nil where the library chooses.
struct ModelOptions {
    let compute: ComputeType?
    let notice: CloseNotice
    let residence: FileResidence

    /// Errors: `.argument`.
    init(_ options: UnsafePointer<prune_model_options>?) throws(PruneError) {
        let options = try readStruct(options, prune_model_options(), least: modelOptionsSize, "options")
        try checkReserved(options?.reserved ?? 0, "options")
        compute = try computeType(options?.compute ?? 0, "options.compute")
        notice = CloseNotice(callback: options?.on_close, userData: options?.user_data)
        switch Int(options?.weights ?? 0) {
        case PRUNE_WEIGHTS_MAPPED: residence = .mapped
        case PRUNE_WEIGHTS_MEMORY: residence = .memory
        case let value:
            throw PruneError(.argument, "options.weights is \(value), which is none of PRUNE_WEIGHTS_*")
        }
    }
}

/// The options of a model over tensors that the host lends. Errors: `.argument`.
func readModelOptions(
    _ options: UnsafePointer<prune_model_options>?
) throws(PruneError) -> (compute: ComputeType?, notice: CloseNotice) {
    let options = try ModelOptions(options)
    guard options.residence == .mapped else {
        throw PruneError(
            .argument,
            "options.weights is of models that are opened from a directory; these weights are the host's, in its memory"
        )
    }
    return (options.compute, options.notice)
}

@c @implementation
public func prune_model_open(
    _ directory: UnsafePointer<CChar>!, _ options: UnsafePointer<prune_model_options>!,
    _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in
        let directory = try text(try need(directory, "directory"), "directory")
        let out = try need(out_model, "out_model")
        let options = try ModelOptions(options)
        guard options.notice.callback == nil else {
            throw PruneError(
                .argument,
                "options.on_close is of models over tensors that the host lends; a directory has none to give back")
        }
        out.pointee = try HandleTable.add(
            ModelHandle(
                try openModel(try Checkpoint.open(directory: directory, options.residence), compute: options.compute)))
    }
}

@c @implementation
public func prune_model_with_compute(
    _ model: OpaquePointer!, _ compute: prune_compute, _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let out = try need(out_model, "out_model")
        let made = ModelHandle(try PruneCore.model(handle.model, computingIn: try computeType(compute, "compute")))
        let mask = try handle.currentMask
        try made.mask.withLock { $0 = mask }
        out.pointee = try HandleTable.add(made)
    }
}

@c @implementation
public func prune_model_release(_ model: OpaquePointer!) { HandleTable.release(model, ModelHandle.self) }

@c @implementation
public func prune_model_info(
    _ model: OpaquePointer!, _ out_shape: UnsafeMutablePointer<prune_model_shape>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let shape = handle.model.shape
        let whole = shape.cost(under: KeepMask(blocks: shape.blockCount))
        let readsWeights = handle.model.readsWeights ? PRUNE_ABILITY_MAGNITUDE : 0
        let generates = handle.model.generates ? PRUNE_ABILITY_GENERATE : 0
        let gradients = handle.model.hasGradients ? PRUNE_ABILITY_GRADIENTS : 0
        let readsStates = handle.model.readsStates ? PRUNE_ABILITY_READ_STATES : 0
        let sublayers = shape.hasWholeBlocks ? 0 : PRUNE_ABILITY_SUBLAYERS
        let states = handle.model.runsSublayers ? PRUNE_ABILITY_STATES : 0
        let out = prune_model_shape(
            struct_size: 0, abilities: UInt32(readsStates | readsWeights | generates | gradients | sublayers | states),
            architecture: handle.architecture.pointer, element_type: handle.elementType.pointer,
            n_blocks: Int64(shape.blockCount), hidden_size: Int64(shape.hiddenSize),
            feed_forward_size: Int64(shape.feedForwardSize), n_heads: Int64(shape.headCount),
            n_kv_heads: Int64(shape.kvHeadCount), head_size: Int64(shape.headSize),
            vocabulary_size: Int64(shape.vocabularySize), context_length: Int64(shape.contextLength),
            tied_embeddings: shape.tiesEmbeddings ? 1 : 0, parameters: Int64(whole.parameters),
            parameter_bytes: Int64(whole.parameterBytes), kv_bytes: Int64(whole.keyValueBytes),
            compute: cCompute(handle.model.compute), reserved: 0)
        try writeStruct(out, to: out_shape, least: modelShapeSize, "out_shape")
    }
}

@c @implementation
public func prune_model_sublayers(
    _ model: OpaquePointer!, _ out_sublayers: UnsafeMutablePointer<prune_sublayer>!, _ capacity: Int,
    _ out_count: UnsafeMutablePointer<Int>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let handle = try HandleTable.object(model, ModelHandle.self, "model")
        let sublayers = handle.model.shape.sublayers
        let out = try room(for: sublayers.count, in: out_sublayers, capacity, out_count, "out_sublayers")
        for (index, own) in sublayers.enumerated() {
            out[index] = prune_sublayer(
                block: Int64(index / 2), is_feed_forward: Int64(index % 2), parameters: Int64(own.parameters),
                parameter_bytes: Int64(own.parameterBytes), kv_bytes: Int64(own.keyValueBytes),
                window: Int64(own.window ?? 0))
        }
    }
}

private let dataOptionsSize = MemoryLayout<prune_data_options>.size

@c @implementation
public func prune_data_create(
    _ token_ids: UnsafePointer<Int32>!, _ sequence_lengths: UnsafePointer<Int64>!, _ n_sequences: Int,
    _ options: UnsafePointer<prune_data_options>!, _ out_data: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_data?.pointee = nil
    return guarded { () throws(PruneError) in
        let out = try need(out_data, "out_data")
        let ids = try need(token_ids, "token_ids")
        let lengths = try array(try need(sequence_lengths, "sequence_lengths"), n_sequences, "sequence_lengths")
        let options = try readStruct(options, prune_data_options(), least: dataOptionsSize, "options")
        try checkReserved(options?.reserved ?? 0, "options")
        let tokens = try TokenData.tokenCount(ofLengths: lengths)
        let weights = try options?.token_weights.map { values throws(PruneError) in
            try array(values, tokens, "options.token_weights")
        }
        let copies = try array(ids, tokens, "token_ids")
        try Memory.require(24 * lengths.count, for: "\(lengths.count) sequences", "give fewer at a time")
        out.pointee = try HandleTable.add(
            try TokenData(tokens: copies, lengths: lengths.map { Int($0) }, weights: weights))
    }
}

@c @implementation
public func prune_data_release(_ data: OpaquePointer!) { HandleTable.release(data, TokenData.self) }

/// The data of a call that works on it, and proof of memory for what is made of all of it, whatever the call: batches, and
/// the rows of some of them. Errors: `.argument` for NULL; `.handle`; `.memory`.
func tokens(_ handle: OpaquePointer?, _ name: String) throws(PruneError) -> TokenData {
    let data = try HandleTable.object(handle, TokenData.self, name)
    try Memory.require(
        data.sequenceCount.times(clamping: 128).plus(clamping: data.tokens.count.times(clamping: 16)),
        for: "work on \(data.tokens.count) tokens", "give fewer at a time")
    return data
}

@c @implementation
public func prune_data_info(
    _ data: OpaquePointer!, _ out_sequences: UnsafeMutablePointer<Int64>!, _ out_tokens: UnsafeMutablePointer<Int64>!
) -> prune_status {
    guarded { () throws(PruneError) in
        let data = try HandleTable.object(data, TokenData.self, "data")
        out_sequences?.pointee = Int64(data.sequenceCount)
        out_tokens?.pointee = Int64(data.tokens.count)
    }
}
