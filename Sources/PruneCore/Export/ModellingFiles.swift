// SPDX-License-Identifier: Apache-2.0
/// Python files that an exported checkpoint carries, so that transformers can run what it has no model for. Written for
/// PruneCore, Apache-2.0; they subclass the models of transformers 5.
enum ModellingFiles {
    /// For `PRUNE_FORMAT_HF_CUSTOM`.
    static let custom: [(name: String, bytes: [UInt8])] = [
        ("configuration_prunecore.py", PackageResources.configuration_prunecore_py),
        ("modeling_prunecore.py", PackageResources.modeling_prunecore_py),
        ("prunecore_layers.py", PackageResources.prunecore_layers_py),
    ]

    /// For `PRUNE_FORMAT_DECI`. vLLM and mlx have models of their own; the former wants the configuration's class.
    static let deci: [(name: String, bytes: [UInt8])] = [
        ("configuration_decilm.py", PackageResources.configuration_decilm_py),
        ("modeling_decilm.py", PackageResources.modeling_decilm_py),
        ("prunecore_layers.py", PackageResources.prunecore_layers_py),
    ]
}
