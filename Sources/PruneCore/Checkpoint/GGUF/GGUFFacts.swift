// SPDX-License-Identifier: Apache-2.0
/// What the configuration of a GGUF model is made of: the metadata of its architecture, and which tensors there are.
struct GGUFFacts {
    let file: GGUFFile
    let architecture: GGUFArchitecture
    let layerCount: Int
    /// Of all tensors.
    let names: Set<String>

    init(_ file: GGUFFile) throws(PruneError) {
        self.file = file
        architecture = try GGUFArchitecture.named(in: file.metadata)
        layerCount = try file.metadata.count(
            "\(architecture.name).block_count", limit: ModelConfig.Limits.blocks)
        names = Set(file.tensors.keys).union(file.unsupported.keys)
    }

    /// A key of the architecture.
    func key(_ ending: String) -> String { "\(architecture.name).\(ending)" }

    /// The number of layers that have a tensor of this name.
    func layers(with tensor: String) -> Int { (0..<layerCount).count { names.contains("blk.\($0).\(tensor)") } }

    /// What a key says of all layers that say something; 0 counts as nothing. nil if the key is missing.
    ///
    /// Errors: `.unsupported` if layers differ: the engine has one size for all.
    func count(_ ending: String, limit: Int) throws(PruneError) -> Int? {
        let key = key(ending)
        guard let counts = try file.metadata.optionalCounts(key, entries: layerCount, limit: limit) else { return nil }
        let own = counts.filter { $0 > 0 }
        guard let first = own.first else { throw file.metadata.fault(.format, key, "is 0 in every layer") }
        guard own.allSatisfy({ $0 == first }) else {
            throw file.metadata.fault(
                .unsupported, key,
                "differs between layers (\(first), \(own.first { $0 != first } ?? 0)); computed are models whose layers are alike"
            )
        }
        return first
    }

    /// The numbers of a small tensor of floats; nil if it is not there.
    ///
    /// Errors: `.format` if it is no vector, or holds numbers that no divisor is; `.unsupported` if it is quantised.
    func divisors(_ name: String) throws(PruneError) -> [Double]? {
        guard names.contains(name) else { return nil }
        guard let tensor = file.tensors[name], !tensor.elementType.isQuantised, tensor.shape.count == 1,
            tensor.elementCount > 0, tensor.elementCount <= ModelConfig.Limits.width
        else { throw PruneError(.format, "\(file.path): tensor \(name.quoted) must be a vector of floats") }
        guard let base = tensor.bytes.baseAddress else { return nil }
        var values = [Float](repeating: 0, count: tensor.elementCount)
        values.withUnsafeMutableBufferPointer { values in
            // Safe: the tensor holds as many elements, checked when the file was opened.
            if let out = values.baseAddress { Kernels.widen(base, tensor.elementType, into: out, tensor.elementCount) }
        }
        guard values.allSatisfy({ $0.isFinite && $0 > 0 }) else {
            throw PruneError(.format, "\(file.path): tensor \(name.quoted) must hold finite numbers above 0")
        }
        return values.map(Double.init)
    }
}
