// SPDX-License-Identifier: Apache-2.0
/// The members of one edit of a document, which anybody may have written; errors name the edit and the member.
struct EditObject {
    /// "edit 2 of the mask"
    let place: String
    private let members: [String: JSONValue]

    /// Errors: `.format` if the value is no object.
    init(_ value: JSONValue, place: String) throws(PruneError) {
        guard case .object(let members) = value else {
            throw PruneError(.format, "\(place): \(value.described) is not an object with a \"kind\"")
        }
        self.place = place
        self.members = members
    }

    func fault(_ kind: FailureKind, _ name: String, _ problem: String) -> PruneError {
        PruneError(kind, "\(place): \(name.quoted) \(problem)")
    }

    /// Errors: `.format` if there are members that the kind does not have: one that is misspelt must not go unheard.
    func requireOnly(_ names: [String]) throws(PruneError) {
        if let other = members.keys.filter({ $0 != "kind" && !names.contains($0) }).min() {
            throw fault(.format, other, "is no member of this kind, which has \(names.joined(separator: ", "))")
        }
    }

    func has(_ name: String) -> Bool { members[name] != nil }

    func text(_ name: String) throws(PruneError) -> String {
        guard case .string(let text)? = members[name] else { throw fault(.format, name, "is not a text") }
        return text
    }

    /// A finite number.
    func number(_ name: String) throws(PruneError) -> Double {
        switch members[name] {
        case .integer(let value)?: return Double(value)
        case .number(let value)? where value.isFinite: return value
        default: throw fault(.format, name, "is not a finite number")
        }
    }

    /// A whole number from 0 on, below `end`.
    func integer(_ name: String, below end: Int) throws(PruneError) -> Int {
        guard case .integer(let value)? = members[name], (0..<end).contains(value) else {
            throw fault(.format, name, "is not a whole number from 0 to \(end - 1)")
        }
        return value
    }

    /// Whole numbers from 0 on, below `end`: at least one, and none twice.
    func integers(_ name: String, below end: Int) throws(PruneError) -> [Int] {
        guard case .array(let values)? = members[name], !values.isEmpty else {
            throw fault(.format, name, "is not an array with a number in it")
        }
        return try integers(values, of: name, below: end)
    }

    /// Arrays as above under names that are whole numbers from 0 on, below `end`.
    func integers(
        _ name: String, byNumberBelow end: Int, below limit: Int
    ) throws(PruneError) -> [Int: [Int]] {
        guard case .object(let entries)? = members[name], !entries.isEmpty else {
            throw fault(.format, name, "is not an object with an array in it")
        }
        var found: [Int: [Int]] = [:]
        for (key, value) in entries.sorted(by: { $0.key < $1.key }) {
            // The text of the number must be the one that would be written: "07" and "7" would be one block.
            guard let number = Int(key), String(number) == key, (0..<end).contains(number) else {
                throw fault(.format, name, "has \(key.quoted), which is not a whole number from 0 to \(end - 1)")
            }
            guard case .array(let values) = value, !values.isEmpty else {
                throw fault(.format, name, "has under \(key.quoted) no array with a number in it")
            }
            found[number] = try integers(values, of: name, below: limit)
        }
        return found
    }

    private func integers(_ values: [JSONValue], of name: String, below end: Int) throws(PruneError) -> [Int] {
        var numbers: [Int] = []
        var seen: Set<Int> = []
        for value in values {
            guard case .integer(let number) = value, (0..<end).contains(number) else {
                throw fault(.format, name, "has \(value.described), which is not a whole number from 0 to \(end - 1)")
            }
            guard seen.insert(number).inserted else { throw fault(.format, name, "has \(number) twice") }
            numbers.append(number)
        }
        return numbers
    }
}
