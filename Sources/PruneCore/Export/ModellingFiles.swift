// SPDX-License-Identifier: Apache-2.0
/// Python files that an exported checkpoint carries, so that transformers can run what it has no model for. Written for
/// PruneCore, Apache-2.0; they subclass the models of transformers 5.
enum ModellingFiles {
    /// For `PRUNE_FORMAT_HF_CUSTOM`: with the classes of one family.
    static func custom(_ family: Architecture) -> [(name: String, bytes: [UInt8])] {
        [
            ("configuration_prunecore.py", written(PackageResources.configuration_prunecore_py, for: family)),
            ("modeling_prunecore.py", written(PackageResources.modeling_prunecore_py, for: family)),
            ("prunecore_layers.py", PackageResources.prunecore_layers_py),
        ]
    }

    /// For `PRUNE_FORMAT_DECI`. vLLM and mlx have models of their own; the former wants the configuration's class.
    static let deci: [(name: String, bytes: [UInt8])] = [
        ("configuration_decilm.py", PackageResources.configuration_decilm_py),
        ("modeling_decilm.py", PackageResources.modeling_decilm_py),
        ("prunecore_layers.py", PackageResources.prunecore_layers_py),
    ]

    /// A file as it stands in the sources is that of Llama; those of other families have other names in it.
    private static func written(_ file: [UInt8], for family: Architecture) -> [UInt8] {
        let llama = Architecture.llama
        return Array(
            String(decoding: file, as: UTF8.self)
                .replacing(llama.name, with: family.name)
                .replacing(llama.configurationClass, with: family.configurationClass)
                .replacing(llama.customType, with: family.customType).utf8)
    }
}
