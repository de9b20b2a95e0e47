// SPDX-License-Identifier: Apache-2.0
/// A value of a GGUF file's metadata. Arrays and strings stay in the file: a vocabulary has hundreds of thousands of entries,
/// and a tokenizer may be a string of megabytes.
enum GGUFValue {
    case integer(Int)
    case number(Double)
    case bool(Bool)
    /// Where its bytes are in the file.
    case string(Range<Int>)
    case array(GGUFArray)

    /// How values are stored: the numbers of `gguf_type`.
    enum Kind: UInt32 {
        case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

        /// Bytes of a value; nil where values differ.
        var size: Int? {
            switch self {
            case .uint8, .int8, .bool: 1
            case .uint16, .int16: 2
            case .uint32, .int32, .float32: 4
            case .uint64, .int64, .float64: 8
            case .string, .array: nil
            }
        }
    }
}

/// An array of a GGUF file: where its entries are, all of which were stepped over when the file was opened.
struct GGUFArray {
    let kind: GGUFValue.Kind
    let count: Int
    /// Of the first entry in the file.
    let offset: Int
}

extension GGUFCursor {
    /// A value with the number of its kind before it. Errors: `.format`.
    mutating func value(_ what: String) throws(PruneError) -> GGUFValue {
        let kind = try self.kind(what)
        guard kind == .array else { return try value(kind, what) }
        let own = try self.kind(what)
        guard own != .array else {
            throw PruneError(.format, "\(path): \(what) is an array of arrays, which the format does not have")
        }
        let count = try self.count("the length of \(what)", limit: remaining)
        let array = GGUFArray(kind: own, count: count, offset: offset)
        if let size = own.size {
            try skip(count, of: size, what)
        } else {
            for _ in 0..<count { try stringBytes(what) }
        }
        return .array(array)
    }

    private mutating func kind(_ what: String) throws(PruneError) -> GGUFValue.Kind {
        let number: UInt32 = try self.number("the type of \(what)")
        guard let kind = GGUFValue.Kind(rawValue: number) else {
            throw PruneError(.format, "\(path): \(what) has type \(number), which the format does not have")
        }
        return kind
    }

    /// A value that is no array.
    mutating func value(_ kind: GGUFValue.Kind, _ what: String) throws(PruneError) -> GGUFValue {
        switch kind {
        case .uint8: .integer(Int(try number(what) as UInt8))
        case .int8: .integer(Int(try number(what) as Int8))
        case .uint16: .integer(Int(try number(what) as UInt16))
        case .int16: .integer(Int(try number(what) as Int16))
        case .uint32: .integer(Int(try number(what) as UInt32))
        case .int32: .integer(Int(try number(what) as Int32))
        case .int64: .integer(Int(try number(what) as Int64))
        case .uint64: Self.whole(try number(what))
        case .float32: .number(Self.decimal(try float(what)))
        case .float64: .number(try double(what))
        case .bool: .bool(try number(what) as UInt8 != 0)
        case .string: .string(try stringBytes(what))
        case .array: throw PruneError(.internal, "\(path): \(what) is read as a single value, and is an array")
        }
    }

    /// The shortest decimal that is this float: what the number was before it was stored so, 1e-5 and not
    /// 9.99999974738e-6.
    private static func decimal(_ value: Float) -> Double { Double(value.description) ?? Double(value) }

    /// Of 64 bits without a sign: a number where an Int cannot hold it, which no count is.
    private static func whole(_ value: UInt64) -> GGUFValue {
        Int(exactly: value).map { .integer($0) } ?? .number(Double(value))
    }
}
