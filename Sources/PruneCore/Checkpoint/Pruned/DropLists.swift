// SPDX-License-Identifier: Apache-2.0
/// `drop_attn_list` and `drop_mlp_list` of LLM-Drop: numbers of layers, or true and false for every layer.
enum DropLists {
    static let keys = ["drop_attn_list", "drop_mlp_list"]

    enum List {
        case numbers([Int])
        case flags([Bool])
    }

    /// Of each key its list, where it is not empty; nothing if the file drops nothing.
    ///
    /// Errors: `.format` for a list of anything else.
    static func read(_ file: ConfigObject) throws(PruneError) -> [String: List] {
        var lists: [String: List] = [:]
        for key in keys {
            guard let value = file.value(key) else { continue }
            guard case .array(let elements) = value else { throw wrong(file, key) }
            var numbers: [Int] = []
            var flags: [Bool] = []
            for element in elements {
                switch element {
                case .integer(let number): numbers.append(number)
                case .bool(let flag): flags.append(flag)
                default: throw wrong(file, key)
                }
            }
            guard numbers.isEmpty || flags.isEmpty else { throw wrong(file, key) }
            if !numbers.isEmpty { lists[key] = .numbers(numbers) }
            if !flags.isEmpty { lists[key] = .flags(flags) }
        }
        return lists
    }

    private static func wrong(_ file: ConfigObject, _ key: String) -> PruneError {
        file.fault(.format, key, "must be a list of layer numbers, or of true and false for every layer")
    }

    /// Errors: `.format` for a layer out of range, or a list of flags of another length.
    static func places(
        _ lists: [String: List], in file: ConfigObject, blockCount: Int
    ) throws(PruneError) -> Set<Int> {
        var places: Set<Int> = []
        for (kind, key) in keys.enumerated() {
            switch lists[key] {
            case nil: continue
            case .numbers(let numbers):
                for block in numbers {
                    guard (0..<blockCount).contains(block) else {
                        throw file.fault(.format, key, "names layer \(block); there are \(blockCount), from 0 on")
                    }
                    places.insert(2 * block + kind)
                }
            case .flags(let flags):
                guard flags.count == blockCount else {
                    throw file.fault(.format, key, "has \(flags.count) entries for \(blockCount) layers")
                }
                places.formUnion(flags.indices.filter { flags[$0] }.map { 2 * $0 + kind })
            }
        }
        return places
    }
}
