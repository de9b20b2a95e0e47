// SPDX-License-Identifier: Apache-2.0
/// What people give in the place of a model's directory, and what to do then.
enum WrongPlace {
    /// Weights in other formats: how the names of their files begin or end, and what to do.
    private static let others: [(matches: @Sendable (String) -> Bool, advice: String)] = [
        ({ $0.hasSuffix(".gguf") }, "a model in a GGUF file is opened by the path of the file"),
        (
            { $0.hasPrefix("consolidated.") },
            "weights as their authors trained them (consolidated.*) are not read; open the version for transformers"
        ),
        (
            { $0.hasPrefix("tf_model") || $0.hasPrefix("flax_model") },
            "weights of TensorFlow and Flax are not read; open the version with safetensors"
        ),
        ({ $0.hasSuffix(".npz") }, "weights of MLX (.npz) are not read; open the version with safetensors"),
        ({ $0 == "adapter_model.safetensors" }, "an adapter of PEFT alone is no model; merge it into its model first"),
    ]

    /// Why `path` is no directory of a model. Errors: always, `.file` or `.unsupported`.
    static func refuse(_ path: String, _ failure: PruneError) throws(PruneError) {
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        if MappedFile.exists(path) {
            if let other = others.first(where: { $0.matches(name) }) {
                throw PruneError(.unsupported, "\(path): \(other.advice)")
            }
            throw failure
        }
        if path.hasPrefix("~") {
            throw PruneError(.file, "\(path): no such directory; \"~\" is not expanded here: give the whole path")
        }
        if isAddress(path) {
            throw PruneError(.file, "\(path): an address is not opened; download the model, and give its directory")
        }
        if isHubName(path) {
            throw PruneError(
                .file,
                "\(path): no such directory; if it is the name of a model on the Hugging Face hub, download it: "
                    + "hf download \(path) --local-dir \(name)")
        }
        throw failure
    }

    /// Such as "https://..", which some hosts' paths shorten to "https:/..".
    private static func isAddress(_ path: String) -> Bool {
        ["https:/", "http:/", "hf:/", "s3:/", "gs:/", "file:/"].contains { path.hasPrefix($0) }
    }

    /// "owner/name", or "name" alone, as the hub has it.
    private static func isHubName(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count <= 2
            && parts.allSatisfy { part in
                !part.isEmpty && !part.hasPrefix(".")
                    && part.utf8.allSatisfy {
                        $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
                            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0 | 0x20)
                    }
            }
    }

    /// Why a directory without safetensors is none of a model that is opened, from the names of its files.
    static func noWeights(_ directory: String) -> PruneError {
        let files = Folder.names(in: directory)
        let missing = "\(directory): neither model.safetensors nor model.safetensors.index.json is there"
        if files.contains(where: { $0.hasPrefix("pytorch_model") && ($0.hasSuffix(".bin") || $0.hasSuffix(".json")) }) {
            return PruneError(
                .file,
                missing
                    + "; the weights in pytorch_model.bin are not read. To convert them: python -c \"from transformers "
                    + "import AutoModelForCausalLM as M; M.from_pretrained('\(directory)', dtype='auto')"
                    + ".save_pretrained('\(directory)-safetensors')\"")
        }
        for other in others {
            if let file = files.first(where: other.matches) {
                return PruneError(.unsupported, "\(missing), but \(file): \(other.advice)")
            }
        }
        return PruneError(.file, missing)
    }
}
