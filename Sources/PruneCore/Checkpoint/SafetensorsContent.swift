// SPDX-License-Identifier: Apache-2.0
/// The JSON of a safetensors header as written: an object with one member per tensor, of which nothing is checked yet
/// but that dtype is a string and that `__metadata__` holds strings alone.
struct SafetensorsContent: JSONContent {
    struct Entry {
        let name: String
        let members: Members
    }

    /// What is said of a tensor; nil = missing.
    struct Members: JSONContent {
        let dtype: String?
        let shape: Numbers?
        let offsets: Numbers?
        let commaCount: Int
    }

    /// An array of integers, or what stands in the place of one.
    enum Numbers {
        case integers([Int])
        case other(JSONValue)
    }

    /// Sorted by name, so that of several faults the same one is reported every time.
    let entries: [Entry]
    let commaCount: Int

    init(from decoder: any Decoder) throws {
        let tensors = try decoder.container(keyedBy: JSONKey.self)
        var entries: [Entry] = []
        let keys = tensors.allKeys.sorted { $0.stringValue < $1.stringValue }
        var commaCount = max(keys.count - 1, 0)
        for key in keys {
            if key.stringValue == "__metadata__" {
                commaCount += max(try tensors.decode([String: String].self, forKey: key).count - 1, 0)
            } else {
                let members = try tensors.decode(Members.self, forKey: key)
                commaCount += members.commaCount
                entries.append(Entry(name: key.stringValue, members: members))
            }
        }
        (self.entries, self.commaCount) = (entries, commaCount)
    }
}

extension SafetensorsContent.Members {
    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: JSONKey.self)
        var dtype: String?
        var shape: SafetensorsContent.Numbers?
        var offsets: SafetensorsContent.Numbers?
        let keys = members.allKeys
        var commaCount = max(keys.count - 1, 0)
        for key in keys {
            switch key.stringValue {
            case "dtype":
                dtype = try members.decode(String.self, forKey: key)
            case "shape":
                let numbers = try members.decode(SafetensorsContent.Numbers.self, forKey: key)
                commaCount += numbers.commaCount
                shape = numbers
            case "data_offsets":
                let numbers = try members.decode(SafetensorsContent.Numbers.self, forKey: key)
                commaCount += numbers.commaCount
                offsets = numbers
            default:
                // The format leaves room for more.
                commaCount += try members.decode(JSONValue.self, forKey: key).commaCount
            }
        }
        (self.dtype, self.shape, self.offsets, self.commaCount) = (dtype, shape, offsets, commaCount)
    }
}

extension SafetensorsContent.Numbers: JSONContent {
    init(from decoder: any Decoder) throws {
        if let integers = try? [Int](from: decoder) {
            self = .integers(integers)
        } else {
            self = .other(try JSONValue(from: decoder))
        }
    }

    var commaCount: Int {
        switch self {
        case .integers(let integers): max(integers.count - 1, 0)
        case .other(let value): value.commaCount
        }
    }
}
