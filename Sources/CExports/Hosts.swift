// SPDX-License-Identifier: Apache-2.0
public import CPruneCore
import PruneCore

/// The host as of its first version: up to and with `on_close`.
private let hostSize = MemoryLayout<prune_host>.offset(of: \.known_causal) ?? MemoryLayout<prune_host>.size

@c @implementation
public func prune_model_from_host(
    _ host: UnsafePointer<prune_host>!, _ out_model: UnsafeMutablePointer<OpaquePointer?>!
) -> prune_status {
    out_model?.pointee = nil
    return guarded { () throws(PruneError) in
        let out = try need(out_model, "out_model")
        let host = try need(try readStruct(host, prune_host(), least: hostSize, "host"), "host")
        if host.compare != nil { try checkComparisonSize(host.comparison_size) }
        guard host.known_causal == 0 || host.known_causal == 1 else {
            throw PruneError(.argument, "host.known_causal is \(host.known_causal); it must be 0 or 1")
        }
        let model = try HostModel(try shape(of: host), CHost(host), knownCausal: host.known_causal == 1)
        out.pointee = try HandleTable.add(ModelHandle(model))
    }
}

@c @implementation
public func prune_host_error_set(_ sentence: UnsafePointer<CChar>!) {
    hostSentence.set(sentence.map { String(cString: $0) })
}

/// The size of a host's prune_comparison: that of the first version or a later one, which only appended doubles.
/// Errors: `.argument`.
private func checkComparisonSize(_ size: UInt32) throws(PruneError) {
    let own = MemoryLayout<prune_comparison>.size
    guard size >= own, size <= 1 << 12, size % UInt32(MemoryLayout<Double>.stride) == 0 else {
        throw PruneError(
            .argument,
            "host.comparison_size is \(size), but at least \(own) are needed, in doubles; set it to sizeof(prune_comparison), or use the _INIT macro"
        )
    }
}

/// What a host says of itself. Errors: `.argument` naming the field.
private func shape(of host: prune_host) throws(PruneError) -> ModelShape {
    func size(_ value: Int64, _ name: String, least: Int64 = 0) throws(PruneError) -> Int {
        // A bound far beyond any model, so that no product of two sizes and a count of tokens overflows.
        guard value >= least, value <= 1 << 24 else {
            throw PruneError(.argument, "host.\(name) is \(value); it must be \(least) to \(1 << 24)")
        }
        return Int(value)
    }
    func count(_ value: Int64, _ name: String) throws(PruneError) -> Int {
        guard value >= 0, value <= 1 << 48 else {
            throw PruneError(.argument, "host.\(name) is \(value); it must be 0 (not known) to 2^48")
        }
        return Int(value)
    }
    let blocks = try size(host.n_blocks, "n_blocks", least: 1)
    guard blocks <= KeepMask.mostBlocks else {
        throw PruneError(.argument, "host.n_blocks is \(blocks); it must be 1 to \(KeepMask.mostBlocks)")
    }
    guard host.whole_blocks == 0 || host.whole_blocks == 1 else {
        throw PruneError(.argument, "host.whole_blocks is \(host.whole_blocks); it must be 0 or 1")
    }
    let costs = try host.sublayers.map { list throws(PruneError) in try array(list, 2 * blocks, "host.sublayers") }
    var sublayers: [SublayerCost] = []
    for index in 0..<2 * blocks {
        let own = costs?[index] ?? prune_sublayer()
        let name = "sublayers[\(index)]"
        sublayers.append(
            SublayerCost(
                parameters: try count(own.parameters, "\(name).parameters"),
                parameterBytes: try count(own.parameter_bytes, "\(name).parameter_bytes"),
                keyValueBytes: try count(own.kv_bytes, "\(name).kv_bytes"),
                window: own.window == 0 ? nil : try count(own.window, "\(name).window")))
    }
    return ModelShape(
        host: try optionalText(host.architecture, "host.architecture") ?? "host",
        elementType: try elementType(host.element_type, "host.element_type"), blockCount: blocks,
        hiddenSize: try size(host.hidden_size, "hidden_size"),
        vocabularySize: try size(host.vocabulary_size, "vocabulary_size"),
        contextLength: try count(host.context_length, "context_length"),
        fixedParameters: try count(host.fixed_parameters, "fixed_parameters"),
        fixedParameterBytes: try count(host.fixed_parameter_bytes, "fixed_parameter_bytes"), sublayers: sublayers,
        hasWholeBlocks: host.whole_blocks == 1)
}
