// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Adapters as a directory: `adapters.safetensors` has the numbers, `adapters.json` all else and the checksum of the former.
///
/// Saving over older adapters leaves the older or the newer ones, whenever the process stops. The new numbers are written
/// as `adapters.safetensors.new`; renaming `adapters.json` is the moment from which the new ones count; then the numbers
/// take their name. A reader that finds the wrong numbers under that name looks whether the right ones still wait.
public enum AdapterFiles {
    private static let documentName = "adapters.json"
    private static let tensorsName = "adapters.safetensors"
    private static let pendingName = "adapters.safetensors.new"

    /// Saves adapters, making the directory if it is not there.
    ///
    /// - Parameter provenance: a JSON object; nil = an empty one.
    /// Errors: `.format` if that is none; `.file`, with the system's reason.
    public static func save(
        _ set: AdapterSet, to directory: String, provenance: String? = nil
    ) throws(PruneError) {
        let provenance = try MaskDocument.checkedProvenance(provenance)
        try checkFinite(set)
        try createDirectory(directory)
        let (tensors, pending) = (directory + "/" + tensorsName, directory + "/" + pendingName)
        // Numbers that a save left waiting belong to the document that is there, until a new one takes its place.
        if let waiting = try? find(in: directory).path, waiting == pending { rename(pending, tensors) }
        var digest = SHA256()
        try AtomicFile.write(to: pending) { (append) throws(PruneError) in
            digest = SHA256()
            try SafetensorsWriter.write(
                Self.tensors(of: set), metadata: ["format": "pt"],
                append: { (bytes) throws(PruneError) in
                    digest.update(bytes)
                    try append(bytes)
                })
        }
        let text = try AdapterDocument.write(
            set, file: tensorsName, checksum: digest.hexadecimal, provenance: provenance)
        try AtomicFile.write(Array(text.utf8), to: directory + "/" + documentName)
        // If this is lost, nothing is: the numbers still wait under their other name.
        guard rename(pending, tensors) == 0 else { throw MappedFile.failure(tensors, errno) }
    }

    /// Errors: `.file` if a file is missing or unreadable; `.format`, naming file and tensor, if one is damaged or the two
    /// do not belong together; `.unsupported` for a later version.
    public static func load(_ directory: String) throws(PruneError) -> AdapterSet {
        let (path, document, file) = try find(in: directory)
        let tensors = try SafetensorsFile.read(file)
        var unread = Set(tensors.tensors.keys).union(tensors.unsupported.keys)
        /// The values of a tensor, which must be there, finite, and of that shape.
        func values(_ name: String, _ shape: [Int]) throws(PruneError) -> [Float] {
            unread.remove(name)
            guard let tensor = tensors.tensors[name], tensor.elementType == .float32, tensor.shape == shape else {
                throw PruneError(
                    .format, "\(path): tensor \(name.quoted) is missing, or not of fp32 and shape \(shape)")
            }
            try Memory.require(
                3 * tensor.bytes.count, for: "tensor \(name.quoted) of \(path)", "end other work first")
            let values = [Float](unsafeUninitializedCapacity: tensor.elementCount) { values, count in
                // Safe: the tensor has 4 bytes for each of the elements that there is room for.
                UnsafeMutableRawBufferPointer(values).copyMemory(from: tensor.bytes)
                count = tensor.elementCount
            }
            guard values.allSatisfy(\.isFinite) else {
                throw PruneError(.format, "\(path): tensor \(name.quoted) has a value that is not finite")
            }
            return values
        }
        var adapters: [Int: Adapter] = [:]
        for form in document.forms {
            let (sublayer, width) = (form.sublayer, document.hiddenSize)
            var norm: InputNorm?
            if let epsilon = form.epsilon {
                let bias = name(of: .normBias, at: sublayer)
                norm = InputNorm(
                    form.norm, gain: try values(name(of: .norm, at: sublayer), [width]),
                    bias: unread.contains(bias) ? try values(bias, [width]) : nil, epsilon: epsilon)
            }
            // Read before the adapter is made, so that what a file claims costs no memory that it does not fill.
            let parts = try AdapterPart.parameters(of: form.kind).map { part throws(PruneError) in
                try values(name(of: part, at: sublayer), Adapter.shape(of: part, width: width, rank: form.rank))
            }
            var adapter = Adapter(form.kind, width: width, rank: form.rank, norm: norm)
            adapter.parameters = parts.flatMap { $0 }
            adapters[sublayer] = adapter
        }
        if let stray = unread.sorted().first {
            throw PruneError(.format, "\(path): tensor \(stray.quoted) belongs to no adapter of \(documentName)")
        }
        return AdapterSet(
            mask: document.mask, adapters: adapters, weightSample: document.weightSample,
            hiddenSize: document.hiddenSize, report: document.report)
    }

    /// The document of a directory, and the file with the numbers that it speaks of.
    private static func find(
        in directory: String
    ) throws(PruneError) -> (path: String, document: AdapterDocument, tensors: MappedFile) {
        try check(directory)
        let place = directory + "/" + documentName
        let text = try MappedFile.read(place, limit: AdapterDocument.sizeLimit)
        let document = try AdapterDocument.read(text, path: place)
        for name in [tensorsName, pendingName] where MappedFile.exists(directory + "/" + name) {
            let path = directory + "/" + name
            guard let file = try? MappedFile(path: path, .memory) else { continue }
            if SHA256.hexadecimal(of: file.bytes) == document.checksum { return (path, document, file) }
        }
        // Says that the file is missing, or cannot be read, if that is so.
        _ = try MappedFile(path: directory + "/" + tensorsName, .memory)
        throw PruneError(
            .format,
            "\(directory)/\(tensorsName): its checksum is not the one in \(documentName); one of the two is damaged, or of other adapters"
        )
    }

    private static func tensors(of set: AdapterSet) -> [SafetensorsWriter.Tensor] {
        set.sublayers.flatMap { sublayer -> [SafetensorsWriter.Tensor] in
            guard let adapter = set.adapters[sublayer] else { return [] }
            return AdapterPart.allCases.compactMap { part in
                guard let values = adapter.values(of: part) else { return nil }
                return SafetensorsWriter.Tensor(
                    name: name(of: part, at: sublayer), elementType: .float32,
                    shape: Adapter.shape(of: part, width: adapter.width, rank: adapter.rank)
                ) { (append) throws(PruneError) in try SafetensorsWriter.write(values, append) }
            }
        }
    }

    /// Errors: `.nonFinite`, naming the sublayer, for adapters that `load` would not take back.
    private static func checkFinite(_ set: AdapterSet) throws(PruneError) {
        for sublayer in set.sublayers {
            guard let adapter = set.adapters[sublayer] else { continue }
            let gain = (adapter.norm?.gain ?? []) + (adapter.norm?.bias ?? [])
            guard adapter.parameters.allSatisfy(\.isFinite), gain.allSatisfy(\.isFinite),
                adapter.norm?.epsilon.isFinite ?? true
            else {
                throw PruneError(
                    .nonFinite,
                    "the adapter of \(sublayerName(sublayer)) has a value that is not finite; it is not saved")
            }
        }
    }

    /// The tensor that holds a part.
    private static func name(of part: AdapterPart, at sublayer: Int) -> String {
        sublayerName(sublayer) + "." + part.tensorName
    }

    /// Makes a directory, and those above it, where there is none. Errors: `.file`, with the system's reason.
    private static func createDirectory(_ path: String) throws(PruneError) {
        try check(path)
        let ends = path.indices.filter { path[$0] == "/" && $0 != path.startIndex } + [path.endIndex]
        for end in ends where mkdir(String(path[..<end]), 0o777) != 0 && errno != EEXIST {
            throw MappedFile.failure(String(path[..<end]), errno)
        }
    }

    private static func check(_ path: String) throws(PruneError) {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw PruneError(.file, "\(path.quoted): a path cannot be empty or contain a NUL character")
        }
    }
}
