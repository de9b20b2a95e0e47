// SPDX-License-Identifier: Apache-2.0
/// Writes safetensors files, the format that `SafetensorsHeader` reads: the header first, then the tensors one after the
/// other, as they are handed over. Nothing is held but the header.
enum SafetensorsWriter {
    /// A tensor to be written, row-major and little-endian.
    struct Tensor {
        let name: String
        let elementType: ElementType
        let shape: [Int]
        /// Appends the elements, in as many pieces as it likes.
        let write: (AtomicFile.Append) throws(PruneError) -> Void

        /// Bytes that the elements take; nil if no file could hold them, or their type.
        fileprivate var byteCount: Int? {
            guard elementType.safetensorsName != nil else { return nil }
            var bytes = elementType.blockBytes
            for size in shape {
                let (product, overflow) = bytes.multipliedReportingOverflow(by: size)
                guard !overflow, size >= 0 else { return nil }
                bytes = product
            }
            return bytes
        }
    }

    /// Appends a whole file. Data begins at a multiple of 8 bytes, so that tensors in the order of falling element size
    /// are aligned when mapped.
    ///
    /// - Parameters:
    ///   - tensors: of different names.
    ///   - metadata: strings for readers, such as "format".
    /// Errors: `.internal` if a tensor's elements are more or fewer than its shape says; those of `append`.
    static func write(
        _ tensors: [Tensor], metadata: [String: String], append: AtomicFile.Append
    ) throws(PruneError) {
        try write(try header(tensors, metadata), append)
        for tensor in tensors {
            var written = 0
            try tensor.write { (bytes) throws(PruneError) in
                written += bytes.count
                try append(bytes)
            }
            guard written == tensor.byteCount else {
                throw PruneError(
                    .internal, "tensor \(tensor.name.quoted) of shape \(tensor.shape) was written with \(written) bytes"
                )
            }
        }
    }

    private static func header(_ tensors: [Tensor], _ metadata: [String: String]) throws(PruneError) -> [UInt8] {
        var members: [String: JSONValue] = ["__metadata__": .object(metadata.mapValues { .string($0) })]
        var end = 0
        for tensor in tensors {
            let begin = end
            guard let count = tensor.byteCount, let type = tensor.elementType.safetensorsName,
                !begin.addingReportingOverflow(count).overflow, members[tensor.name] == nil
            else {
                throw PruneError(
                    .internal, "tensor \(tensor.name.quoted) is too large, is quantised, or comes twice")
            }
            end += count
            members[tensor.name] = .object([
                "dtype": .string(type),
                "shape": .array(tensor.shape.map { .integer($0) }),
                "data_offsets": .array([.integer(begin), .integer(end)]),
            ])
        }
        var text = Array(JSONValue.object(members).text.utf8)
        text += Array(repeating: UInt8(ascii: " "), count: (8 - text.count % 8) % 8)
        return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
    }

    /// Appends some elements, or other values without padding.
    static func write<Element: BitwiseCopyable>(_ values: [Element], _ append: AtomicFile.Append) throws(PruneError) {
        var failure: PruneError?
        values.withUnsafeBytes { bytes in
            do throws(PruneError) { try append(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}

extension ElementType {
    /// What a safetensors header calls it; nil if it has no name for it.
    fileprivate var safetensorsName: String? {
        switch self {
        case .float32: "F32"
        case .float16: "F16"
        case .bfloat16: "BF16"
        default: nil
        }
    }
}
