// SPDX-License-Identifier: Apache-2.0
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The files of a model's directory that an export takes along: what a tokenizer needs, how text is generated, the licence.
///
/// A README is about the model as it was, and stays behind; so do weights, other formats, and code.
enum ModelFiles {
    private static let names: Set<String> = [
        "generation_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
        "merges.txt",
        "spiece.model", "sentencepiece.bpe.model", "tekken.json", "chat_template.json", "chat_template.jinja",
    ]
    /// Beginnings of names, in any case.
    private static let beginnings = ["tokenizer", "license", "licence", "notice", "use_policy"]
    private static let endings = [".tiktoken"]
    private static let directories = ["additional_chat_templates"]
    /// A larger file is not a tokenizer.
    private static let sizeLimit = 1 << 30

    /// Names and sizes of these files, relative to the directory.
    static func list(_ directory: String) -> [(name: String, byteCount: Int)] {
        var wanted = Folder.names(in: directory).filter(isWanted)
        for inner in directories {
            wanted += Folder.names(in: directory + "/" + inner).map { inner + "/" + $0 }
        }
        return wanted.compactMap { name in
            var status = stat()
            // Links are followed: caches of models are full of them.
            guard stat(directory + "/" + name, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
                let size = Int(exactly: status.st_size), size <= sizeLimit
            else { return nil }
            return (name, size)
        }
    }

    private static func isWanted(_ name: String) -> Bool {
        let lower = name.lowercased()
        // Code is not copied: what it would do is not what the licence of the weights covers.
        guard !lower.hasSuffix(".py") else { return false }
        return names.contains(name) || beginnings.contains { lower.hasPrefix($0) }
            || endings.contains { lower.hasSuffix($0) }
    }

    /// Copies a file. Errors: `.file`, naming it.
    static func copy(_ file: (name: String, byteCount: Int), from directory: String, to staged: StagedDirectory)
        throws(PruneError)
    {
        try staged.write(file.name) { (append) throws(PruneError) in
            try MappedFile.copy(directory + "/" + file.name, append)
        }
    }
}
